"""Circuits that are no chain of layers are refused, with the place and the engine that can."""

import copy

import numpy as np
import pytest
import tomli_w

from dfc_neuro.errors import EngineError, InputError
from dfc_neuro.files import load
from dfc_neuro.rates.layered import layered

SKIP = {"from": "input.rate", "to": "output.basal"}


@pytest.mark.parametrize(("keys", "place", "named"), [
    ({"projections.skip": SKIP}, "projections.skip", "second projection to output.basal (a skip"),
    ({"projections.recurrent": {"from": "hidden.rate", "to": "hidden.basal"}},
     "projections.recurrent", "recurrent"),
    ({"projections.W1.from": "output.rate"}, "populations", "is not a chain of layers"),
    ({"projections.back": {"from": "output.rate", "to": "hidden.apical"}}, "projections.back",
     "goes from output.rate to hidden.apical"),
    ({"controllers.second": {"model": "pi_leaky", "y": "hidden.rate"}}, "controllers", "has 2"),
    ({"controllers.control.y": "hidden.rate"}, "controllers.control.y", "is 'hidden.rate'"),
    ({"controllers.control.y": "output.prediction"}, "controllers.control.y",
     "controls 'output.rate'"),
    ({"projections.W1.delay": "2 ms"}, "projections.W1", "delay"),
    ({"projections.Q1.delay": "2 ms"}, "projections.Q1", "delay"),
    ({"projections.W2.scale": 0.5}, "projections.W2", "scale"),
    ({"projections.W2.connect": {"probability": 0.3}}, "projections.W2", "connect"),
    ({"projections.W1.bias": False}, "projections.W1.bias", "is false"),
    ({"projections.Q1.bias": True}, "projections.Q1.bias", "is true"),
    ({"cells.g_basal": 1.5}, "parameters.g_basal", "is 1.5; the rate engine has a gain of 1"),
    ({"cells.g_apical": 0.5}, "parameters.g_apical", "is 0.5"),
    ({"populations.output.cell": "pyramidal_rate_slow"}, "populations",
     "some cells have a slow apical compartment"),
    ({"populations.beside": {"n": 3, "cell": "pyramidal_rate"}}, "populations",
     "is not a chain of layers: beside"),
    ({"populations.more": {"n": 3, "source": "rate"}}, "populations", "['input', 'more']"),
    ({"populations.output.functions": {"phi(x)": "x**3", "dphi(x)": "3*x**2"}},
     "populations.output", "'x**3' is not a nonlinearity"),
])
def test_refused_with_the_engine_that_can(circuit_with, keys, place, named):
    with pytest.raises(EngineError) as error:
        layered(circuit_with(keys))
    message = str(error.value)
    assert "dfc_layered.toml" in message and place in message and named in message
    assert "engine 'brian' runs any" in message


def test_time_constants_and_noise_scale_that_differ_between_cells(circuit_with, tmp_path):
    source = copy.deepcopy(load("pyramidal_rate", "cell").source)
    source["parameters"] |= {"tau_v": "30 ms", "noise_scale": 0.1}
    path = tmp_path / "slower.toml"
    path.write_text(tomli_w.dumps(source))
    net = layered(circuit_with({"populations.hidden.cell": str(path)}))
    with pytest.raises(EngineError, match=r"tau_v differs between layers; .*'brian'"):
        net.in_units_of_tau_u("tau_v")
    with pytest.raises(EngineError, match=r"noise_scale differs between layers; .*'brian'"):
        net.rule("Q")
    assert net.rule("Q", 0.05).parameters == (1.0, 0.05)  # the phase's own noise
    assert net.rule("W").parameters == (2.0,)


def test_options_of_weights_are_not_read_over(circuit_with):
    with pytest.raises(InputError, match=r"projections.W1.w.gain: unknown key"):
        circuit_with({"projections.W1.w": {"name": "xavier_normal", "gain": 3}})
    with pytest.raises(InputError, match=r"unknown initialiser 'xavier_norml'; did you mean "
                                         "'xavier_normal'"):
        circuit_with({"projections.W1.w": "xavier_norml"})


def test_a_chain_in_any_order_of_its_tables(circuit_with):
    circuit = load("dfc_layered", "circuit")
    table = copy.deepcopy(circuit.source)
    for kind in ("populations", "projections"):
        table[kind] = dict(reversed(table[kind].items()))
    net = layered(circuit_with({
        "populations": table["populations"], "projections": table["projections"]}))
    assert net.populations == ("input", "hidden", "output") and net.sizes == (64, 100, 10)
    assert net.forward == ("W1", "W2") and net.feedback == ("Q1", "Q2")
    assert net.nonlinearities == ("tanh", "linear") and net.slow_apical is False
    # 20 ms over 100 ms, and the shipped controller
    assert net.in_units_of_tau_u("tau_v") == pytest.approx(0.2, rel=1e-15)
    assert (net.control_constant("k_p"), net.control_constant("alpha")) == (2.0, 0.001)


def test_layers_four_deep_with_a_slow_apical_compartment(circuit_with):
    net = layered(circuit_with({
        "layers": [5, 4, 3, 2], "cells.tau_A": "25 ms", "controllers.control.tau_u": "50 ms"}))
    assert net.sizes == (5, 4, 3, 2) and net.slow_apical is True
    assert net.populations == ("input", "hidden1", "hidden2", "output")
    assert net.in_units_of_tau_u("tau_v") == pytest.approx(20 / 50)
    drawn = net.draw(np.random.default_rng(0))
    assert [w.shape for w in drawn.W] == [(4, 5), (3, 4), (2, 3)]
    assert [q.shape for q in drawn.Q] == [(4, 2), (3, 2), (2, 2)]
    np.testing.assert_array_equal(drawn.Q[2], np.eye(2))
    fixed = net.draw(np.random.default_rng(0), "fixed")
    for i in range(3):
        np.testing.assert_array_equal(fixed.W[i], drawn.W[i])
    np.testing.assert_allclose(fixed.Q[0], fixed.W[1].T @ fixed.W[2].T, rtol=1e-15)
    np.testing.assert_array_equal(fixed.Q[1], fixed.W[2].T)
    np.testing.assert_array_equal(fixed.Q[2], np.eye(2))


def test_a_layer_without_feedback_has_none(circuit_with):
    circuit = load("dfc_layered", "circuit")
    projections = {k: v for k, v in circuit.source["projections"].items() if k != "Q1"}
    net = layered(circuit_with({"projections": projections}))
    assert net.feedback == ("", "Q2") and net.trained_feedback == [1]
    assert not net.draw(np.random.default_rng(0)).Q[0].any()
