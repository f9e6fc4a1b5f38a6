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
    ({"projections.twice": {"from": "hidden.rate", "to": "output.basal"}}, "projections.twice",
     "second projection from hidden.rate to output.basal; learning takes one, 'W2'"),
    ({"projections.recurrent": {"from": "hidden.rate", "to": "hidden.basal"}},
     "projections.recurrent", "goes from hidden back to hidden: recurrent projections"),
    ({"projections.above": {"from": "output.rate", "to": "hidden.basal"}}, "projections.above",
     "goes from output back to hidden: recurrent projections"),
    ({"projections.skip": {**SKIP, "connect": {"probability": 0.5}}}, "projections.skip",
     "connect"),
    ({"projections.skip": {**SKIP, "scale": 0.5}}, "projections.skip", "scale"),
    ({"populations.branch": {"n": 3, "cell": "pyramidal_rate"},
      "projections.up": {"from": "input.rate", "to": "branch.basal"},
      "projections.join": {"from": "branch.rate", "to": "output.basal"}}, "populations",
     "is not a chain of layers: branch, hidden, output"),
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


def test_skip_projections_in_any_order(circuit_with):
    """A skip adds W_ij r_j to layer i; the other weights are those of the chain."""
    chain = {"layers": [6, 5, 4, 3]}
    skips = {"projections.far": {"from": "input.rate", "to": "output.basal", "w": "xavier_normal"},
             "projections.near": {"from": "input.rate", "to": "hidden2.basal", "w": 0.25}}
    net = layered(circuit_with(chain | skips))
    assert net.populations == ("input", "hidden1", "hidden2", "output")
    assert net.weights == ("W1", "W2", "W3", "near", "far") and net.skips == ((1, 0), (2, 0))
    assert net.trained_forward == [0, 1, 2] and net.trained_biases == (0, 1, 2)
    drawn, plain = (n.draw(np.random.default_rng(0)) for n in (net, layered(circuit_with(chain))))
    assert drawn.names == ["W1", "W2", "W3", "W2_0", "W3_0"]
    for one, other in zip((*drawn.W, *drawn.Q), (*plain.W, None, None, *plain.Q), strict=True):
        assert other is None or (one == other).all()
    assert (drawn.W[3] == 0.25).all() and drawn.W[4].std() == pytest.approx(0.47, rel=0.3)
    W = net.draw(np.random.default_rng(0), "fixed")
    np.testing.assert_allclose(W.Q[0], W.W[1].T @ W.W[2].T, rtol=1e-14)
    backward = {"from": "hidden1.rate", "to": "output.basal", "w": "xavier_normal"}
    W = layered(circuit_with(chain | {"projections.skip": backward})).draw(
        np.random.default_rng(0), "fixed")
    np.testing.assert_allclose(W.Q[0], W.W[1].T @ W.W[2].T + W.W[3].T, rtol=1e-14)
    np.testing.assert_array_equal(W.Q[2], np.eye(3))


def test_the_one_bias_of_a_layer_with_two_learning_projections(circuit_with):
    skip = {"projections.skip": {**SKIP, "rule": "dfc_forward"}}
    with pytest.raises(EngineError, match=r"projections.W2.bias: is not given, and W2, skip go to "
                                          r"one layer, .* write bias = true on the one"):
        layered(circuit_with(skip))
    for keys, trained in [({"projections.W2.bias": True}, (0, 1)),
                          ({"projections.W2.bias": False}, (0,)),
                          ({"projections.skip.bias": True}, (0, 1)),
                          ({"projections.W2.rule": "none"}, (0, 1))]:
        net = layered(circuit_with(skip | keys))
        assert net.trained_biases == trained
        assert net.trained_forward == ([0, 2] if "projections.W2.rule" in keys else [0, 1, 2])
        assert not net.rule("W").feedback
    with pytest.raises(EngineError, match=r"projections.skip: has another rule than its siblings"):
        layered(circuit_with(skip | {"projections.W2.bias": True,
                                     "projections.skip.rule": "dfc_forward_voltage"})).rule("W")


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
