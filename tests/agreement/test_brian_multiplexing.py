"""The pyramidal/PV/SST circuit, small: apical drive makes bursts and leaves the rate of events.

The full size, 400 cells and five seeds, is in docs/results.md.
"""

import numpy as np

from dfc_neuro import run


def test_apical_drive_sets_the_share_of_bursts(workdir):
    keys = {
        "duration": "700 ms", "numerics.dt": "0.2 ms", "numerics.target": "numpy",
        "populations.pyr.n": 150,
        "projections.pyr_pv.connect": {"probability": 0.5},
        "projections.pyr_sst.connect": {"probability": 0.5},
    }
    for name in ("event_rate", "burst_probability", "pv_rate", "sst_rate"):
        keys |= {f"measure.{name}.from": "200 ms", f"measure.{name}.to": "700 ms"}
    result = run("multiplexing", seed=1, progress=False, quick=True,
                 keys=keys | {"measure.event_rate.cells": 150})
    events, bursts, pv, sst = (result.measures[name].values for name in (
        "event_rate", "burst_probability", "pv_rate", "sst_rate"))
    assert bursts[0] < 0.05
    assert bursts[1] > 0.3
    # about 210 events in each: three standard deviations of their difference
    np.testing.assert_allclose(events[1], events[0], rtol=3 * np.sqrt(2 / 210))
    assert 2 < events[0] < 4  # the reference's population: 2.9 Hz
    assert sst[1] > 4 * sst[0] and pv[1] > pv[0]  # inhibition hears the bursts
    assert len(result.connections) == 4
