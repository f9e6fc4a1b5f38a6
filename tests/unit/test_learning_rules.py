"""Rules of one's own in training: bounds, their cost, digits lost in float32, what is refused."""

import logging
import re

import numpy as np
import pytest
import tomli_w

from dfc_neuro.errors import EngineError
from dfc_neuro.learning import rule_notes
from dfc_neuro.rates.compile import compile_rule
from dfc_neuro.rates.rules import seconds_by_synapse
from dfc_neuro.run import run

CANCELS = "eta*(tanh(v_soma_post) - tanh(v_basal_post))*rate_pre"  # a mismatch, unrecognised
BY_SYNAPSE = "eta*tanh(rate_post*rate_pre - w)"


@pytest.fixture
def rule(tmp_path):
    def write(synapse, reads=("rate",), **more):
        table = {"kind": "rule", "summary": "one of mine", "parameters": {"eta": "2 Hz"},
                 "reads": {"post": dict.fromkeys(reads, "1"), "pre": {"rate": "1"}},
                 "synapse": f"dw/dt = {synapse} : 1", **more}
        path = tmp_path / "mine.toml"
        path.write_text(tomli_w.dumps(table))
        return str(path)

    return write


@pytest.fixture
def trained(data, tmp_path, caplog):
    """Run the tiny protocol with a rule; return result and what was said."""
    def result(rule, **keys):
        keys = {"projections.W.rule": rule, "method": "dfc_ssa", "feedback": "fixed",
                "record.epochs.what": ["loss", "error"], **keys}
        with caplog.at_level(logging.WARNING, "dfc_neuro"):
            found = run(data / "tiny.toml", out=tmp_path / "x.h5", keys=keys, progress=False,
                        force=True)
        return found, caplog.text

    return result


def test_bounds_of_weights_are_kept(trained, rule):
    text = "eta*(rate_post - prediction_post)*rate_pre"
    free, _ = trained(rule(text, ("rate", "prediction")))
    assert min(np.abs(free.weights[n].values).max() for n in ("W1", "W2")) > 0.1
    kept, _ = trained(rule(text, ("rate", "prediction"), bounds={"w": [-0.1, 0.05]}))
    for name in ("W1", "W2"):
        w = kept.weights[name].values
        assert w.min() == pytest.approx(-0.1) and w.max() == pytest.approx(0.05)
        assert (np.abs(w) < 0.05).any()


def test_the_cost_of_a_rule_by_synapse_is_said_before_the_run(trained, rule, monkeypatch):
    monkeypatch.setattr(rule_notes, "seconds_by_synapse", lambda rule, net, samples: 0.0125)
    _, said = trained(rule(BY_SYNAPSE))
    assert "a synapse at a time: about 0.013 s a minibatch, 0.062 s a pass" in said  # 5 of 64
    _, said = trained(rule(BY_SYNAPSE), method="bp")  # which reads no rule
    assert said.count("a synapse at a time") == 1


def test_the_estimate_grows_with_the_minibatch(network):
    net = network([30, 20, 5], ["tanh", "linear"], 0)
    kernel = compile_rule(f"dw/dt = {BY_SYNAPSE} : 1", None, {"eta": 1.0})
    assert 0 < seconds_by_synapse(kernel, net, 64) < 1
    assert seconds_by_synapse(kernel, net, 64_000_000) > 10


def test_digits_lost_in_float32_are_measured_and_said(trained, rule):
    path = rule(CANCELS, ("v_soma", "v_basal"))
    _, said = trained(path, **{"numerics.precision": "float32", "data.target_stepsize": 0.01})
    found = re.search(r"loses (\S+) of 7 digits in float32 \(its update is off by (\S+)\)", said)
    digits, error = float(found[1]), float(found[2])
    assert 1e-4 < error < 1  # |v_soma - v_basal| is of the order of 1e-4 here
    assert digits == pytest.approx(np.log10(error / 6e-8), abs=0.1)
    _, said = trained(path, **{"numerics.precision": "float64"})
    assert said.count("digits in float32") == 1
    own = rule("eta*(rate_post - prediction_post)*rate_pre", ("rate", "prediction"))
    _, said = trained(own, **{"numerics.precision": "float32"})
    assert said.count("digits in float32") == 1


@pytest.mark.parametrize(("synapse", "more", "named"), [
    ("eta*(rate_post - m_post)*rate_pre", {"post": "dm/dt = (rate - m)*eta : 1"},
     "mine.toml: post: has variables of its own (m)"),
    ("eta*rate_post*m_pre", {"pre": "dm/dt = (rate - m)*eta : 1"},
     "mine.toml: pre: has variables of its own (m)"),
    ("eta*h*rate_pre : 1\ndh/dt = eta*(rate_post - h)", {},
     "mine.toml: synapse: has variables of its own (h)"),
])
def test_filtered_states_are_refused_with_what_can_run_them(trained, rule, synapse, more, named):
    with pytest.raises(EngineError) as error:
        trained(rule(synapse, **more))
    assert named in str(error.value)
    assert "engine 'brian' does, on rate cells and on spiking cells" in str(error.value)


def test_what_feedback_weights_cannot_learn_by(data, tmp_path, rule):
    base = {"kind": "rule", "summary": "one of mine", "parameters": {"eta": "1 Hz"},
            "reads": {"post": {"apical": "1"}, "pre": {"u_next": "1"}}}
    path = tmp_path / "feedback.toml"
    for text, more, keys, named in (
            ("-eta*tanh(apical_post*u_next_pre)", {}, {}, "is no sum of products"),
            ("-eta*apical_post*u_next_pre", {"bounds": {"w": [-1.0, 1.0]}},
             {"feedback": "fixed_point"}, "'fixed_point' solves for weights without bounds")):
        path.write_text(tomli_w.dumps(base | {"synapse": f"dw/dt = {text} : 1"} | more))
        with pytest.raises(EngineError, match=named):
            run(data / "tiny.toml", out=tmp_path / "x.h5", progress=False,
                keys={"projections.Q.rule": str(path), **keys})
