"""Runs that several figures share."""

# One epoch of the quickstart with a step fine enough to see the control phase begin.
CONTROL_PHASE = {
    "protocol": "quickstart",
    "keys": {
        "schedule.epochs": 1,
        "numerics.dt": 0.005,
        "phases.control.duration": 2,
        "record.voltages.at_epochs": [1],
        "record.control": {"what": ["r_output", "u", "target"], "at_epochs": [1]},
    },
}
