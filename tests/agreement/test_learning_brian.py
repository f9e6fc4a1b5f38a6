"""Learning with cells that Brian2 runs from their text: against the kernels, resumed, refused."""

import re

import numpy as np
import pytest

import dfc_neuro as dn
from dfc_neuro.errors import InputError, NumericalError
from dfc_neuro.files import resolve
from dfc_neuro.learning.planning import make_plan
from dfc_neuro.learning.trainer_text import TextTrainer

RATE_CELLS = {
    "on": "dfc_layered", "layers": [3, 5, 2], "feedback": "fixed", "schedule.epochs": 1,
    "data.train": 20, "data.batch": 20, "data.inputs": 3, "data.target_stepsize": 0.5,
    "data.test": 5, "optimisers.W.lr_end": 1.0, "optimisers.W.lr": 1.0,
    "record": {"epochs": {"what": ["loss"]}}}
CONTROL = {"controllers.control.k_p": 0, "controllers.control.alpha": 0.05, "cells.tau_v": 0.2}
SMALL = {"layers": [3, 4, 2], "data.inputs": 3, "data.train": 12, "data.batch": 5, "data.test": 4,
         "populations.hidden.cells_per_unit": 3, "populations.output.cells_per_unit": 3,
         "schedule.before.feedback": 1, "schedule.epochs": 1, "numerics.read_out": "0.1 s",
         "phases.control.duration": 3, "phases.control.read": 2, "phases.feedback.duration": 2,
         "phases.feedback.read": 1, "numerics.target": "numpy"}


def changes(tmp_path, name, keys):
    start = dn.run("spiking_regression", out=tmp_path / f"{name}0.h5", progress=False,
                   keys={**keys, "schedule.epochs": 0})
    end = dn.run("spiking_regression", out=tmp_path / f"{name}1.h5", progress=False, keys=keys)
    return {k: end.weights[k].values - start.weights[k].values for k in ("W1", "W2", "b1", "b2")}


def test_rate_cells_from_their_text_learn_as_the_kernels_do(tmp_path):
    """The update of one minibatch; products of means differ from means of products in 2nd order."""
    brian = RATE_CELLS | {
        "numerics.dt": 0.02, "numerics.target": "numpy", "numerics.method": "euler",
        "numerics.read_out": "0.2 s", "phases.control.free": 4, "phases.control.read": 10,
        "phases.control.duration": 10, **{f"phases.control.{k}": v for k, v in CONTROL.items()}}
    rates = RATE_CELLS | {
        "numerics": {"engine": "rates", "integrator": "euler", "dt": 0.02, "precision": "float64"},
        "keep_unconverged": True,
        "phases.control": {"duration": 10, "learn": "W", **CONTROL},
        "phases.feedback": {"duration": 1, "learn": "Q", "target": "own_output"}}
    mine, theirs = changes(tmp_path, "brian", brian), changes(tmp_path, "rates", rates)
    for name, expected in theirs.items():
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(mine[name], expected, atol=0.03 * np.abs(expected).max())


def trainer():
    plan = make_plan(resolve.protocol("spiking_regression", dict(SMALL)), 3)
    return TextTrainer(plan), plan.passes


def test_a_resumed_run_of_spiking_cells_has_the_same_numbers():
    whole, passes = trainer()
    part, _ = trainer()
    for one in passes:
        whole.run(one)
    for one in passes[:2]:
        part.run(one)
    state = {k: np.array(v) if not isinstance(v, str) else v for k, v in part.save().items()}
    rest, _ = trainer()
    rest.restore(state)
    for one in passes[2:]:
        rest.run(one)
    for name in ("W", "b", "Q"):
        for a, b in zip(getattr(whole.net, name), getattr(rest.net, name), strict=True):
            np.testing.assert_array_equal(a, b)
    assert whole.held_out() == rest.held_out()
    assert np.abs(whole.net.Q[0]).max() > 0


@pytest.mark.parametrize(("keys", "message"), [
    ({"method": "bp"}, "method: 'bp' is of the rate engine"),
    ({"feedback": "expected"}, "feedback: 'expected' is of the rate engine"),
    ({"numerics.integrator": "fast"}, "numerics.integrator: is of the rate engine"),
    ({"numerics.precision": "float32"}, "numerics.precision: is of the rate engine"),
    ({"phases.control": {"learn": "W", "duration": 8}}, "phases.control.free: is missing"),
    ({"phases.control.read": 9}, "phases.control.read: is 9 tau_u, longer than the phase"),
    ({"phases.control.read": 0.001}, "phases.control.read: is 0.001 tau_u, less than a step"),
    ({"phases.control.proactive": True}, "phases.control.proactive: is of the rate engine"),
    ({"phases.feedback": {"free": 1, "duration": 8, "learn": "Q", "target": "own_output",
                          "noise": 1.0}}, "phases.feedback.tau_noise: is missing"),
    ({"projections.W1.scale": "2 mV"}, "W1.scale: '2 mV' makes the input volt"),
    ({"data.classes": [1]}, "data, classes: no such option"),
    ({"numerics.engine": "rates"}, "numerics.method: is of Brian2"),
])
def test_what_does_not_fit_is_refused(keys, message):
    with pytest.raises(InputError) as error:
        make_plan(resolve.protocol("spiking_regression", keys), 0)
    assert message in str(error.value)


@pytest.mark.parametrize(("stepsize", "feedback", "what"), [
    (1e6, 1.0, "passed 1"),             # the control runs towards a target out of reach
    (10, np.nan, "is not finite"),      # neither is a voltage that it reaches
])
def test_a_runaway_voltage_stops_learning(stepsize, feedback, what):
    """In cells that a controller drives and a rule reads: with cell, compartment and time."""
    plan = make_plan(resolve.protocol("spiking_regression", SMALL | {
        "data.target_stepsize": stepsize}), 3)
    learner, one = TextTrainer(plan), plan.passes[-2]
    assert one.phase.learn == "W"
    learner.net.Q[0] *= feedback
    message = (r"hidden \(pyramidal_escape\): V_m_(\w+) \((\w+) compartment of unit \d+ of '\w+', "
               rf"sample \d\) {what} between (\d+) and (\d+) ms; lower data.target_stepsize")
    with pytest.raises(NumericalError, match=message) as error:
        learner.run(one)
    found = re.search(message, str(error.value))
    assert found and found[1] == found[2]
    # the first sample is 0.1 s without control and 0.15 s with it
    assert int(found[3]) < int(found[4]) and 100 < int(found[4]) <= 250
