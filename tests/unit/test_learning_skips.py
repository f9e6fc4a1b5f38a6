"""Training of networks with skip projections, from protocols."""

import h5py
import numpy as np
import pytest

from dfc_neuro.errors import InputError
from dfc_neuro.learning.training import Trainer
from dfc_neuro.run import run

KEYS = {"data.train": 256, "data.validation": 0, "data.test": 10, "data.width": 8,
        "diagnostics.samples": 16, "schedule.before.feedback": 30, "schedule.epochs": 3,
        "phases.control.steps": 150, "optimisers.W.lr": 0.2, "skip": "all"}
SKIPS = ("W2_0", "W3_0", "W3_1")


def trained(folder, name="x", **keys):
    return run("dfc_skips", out=folder / f"{name}.h5", progress=False, keys=KEYS | keys)


@pytest.mark.parametrize(("method", "feedback"), [
    ("dfc", "learned"), ("dfc", "fixed"), ("dfc_ss", "learned"), ("dfc_ssa", "fixed"),
    ("dfa", "random"), ("bp", "random")])
def test_every_method_lowers_the_loss(tmp_path, method, feedback):
    result = trained(tmp_path, method=method, feedback=feedback)
    assert {name: result.weights[name].values.shape for name in SKIPS} == {
        "W2_0": (10, 15), "W3_0": (5, 15), "W3_1": (5, 10)}
    found = {name: result.metrics[name].values for name in result.metrics}
    assert found["train_loss"][-1] < found["train_loss"][1]
    for name in ("angle_bp", "angle_gn", "condition_1", *(f"angle_bp_{name}" for name in SKIPS)):
        assert np.isfinite(found[name]).all(), name
    if method.startswith("dfc"):
        assert (found["stability_A_PI"][1:] < 0).all()
        assert found["angle_ssa"][-1] < 20
    before = trained(tmp_path, "before", method=method, feedback=feedback, **{"schedule.epochs": 0})
    for name in (*SKIPS, "W1", "b3"):
        assert np.abs(result.weights[name].values - before.weights[name].values).max() > 1e-5, name


def test_a_skip_without_a_rule_stays(tmp_path):
    keys = {"projections.skip1.rule": "none", "schedule.before.feedback": 0,
            "optimisers.W": {"name": "adam", "lr": 1e-2, "clip": "each"}}
    end, start = (trained(tmp_path, f"{n}", **keys, **{"schedule.epochs": n}) for n in (1, 0))
    changes = {name: np.abs(end.weights[name].values - start.weights[name].values).max()
               for name in ("W3", *SKIPS)}
    assert changes.pop("W3_0") == 0.0 and min(changes.values()) > 1e-3


def test_text_rules_and_float32(tmp_path):
    """A rule of one's own, euler and fast, single precision; DFC without an integrator steps."""
    table = """kind = "rule"
summary = "of the test"
reads.post = { rate = "1", prediction = "1" }
reads.pre = { rate = "1" }
synapse = "dw/dt = eta*(tanh((rate_post - prediction_post)*rate_pre) - 1e-4*w) : 1"
parameters = { eta = "2 Hz" }
"""
    rule = tmp_path / "mine.toml"
    rule.write_text(table)
    for name, keys in {
            "none said": {"numerics": {"dt": 0.02}}, "single": {"numerics.precision": "float32"},
            "mine": {"projections.W.rule": str(rule), "projections.skip.rule": str(rule),
                     "method": "dfc_ssa"}}.items():
        result = trained(tmp_path, name, **keys)
        loss = result.metrics["train_loss"].values
        assert loss[-1] < loss[1], name
        assert result.attrs["integrator"] == ("euler" if name == "none said" else "fast")
        assert "stepped" not in result.metrics  # no closed form was tried


def test_a_resumed_run_is_the_same_to_the_bit(tmp_path, monkeypatch):
    whole, split = tmp_path / "whole.h5", tmp_path / "split.h5"
    keys = KEYS | {"optimisers.W": {"name": "adam", "lr": 1e-3}}
    run("dfc_skips", out=whole, progress=False, keys=keys)
    monkeypatch.setattr("dfc_neuro.learning.training.CHECKPOINT_EVERY", 0.0)
    once, done = Trainer.run, 0

    def interrupted(self, one):
        nonlocal done
        done += 1
        if done == 37:  # in the second epoch
            raise KeyboardInterrupt
        once(self, one)

    monkeypatch.setattr(Trainer, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("dfc_skips", out=split, progress=False, keys=keys)
    monkeypatch.setattr(Trainer, "run", once)
    run("dfc_skips", out=split, progress=False, keys=keys, resume=True)
    with h5py.File(whole) as one, h5py.File(split) as other:
        for kind in ("weights", "metrics"):
            assert set(one[kind]) == set(other[kind])
            for name in one[kind]:
                assert one[kind][name][()].tobytes() == other[kind][name][()].tobytes(), name


@pytest.mark.parametrize(("keys", "message"), [
    ({"numerics.integrator": "averaged"}, "phases.control.numerics.integrator: 'averaged' is known"
     " for chains of layers, .* write euler or fast, or leave it out"),
    ({"feedback": "expected"}, "feedback: 'expected' is known for chains .* write learned"),
    ({"feedback": "fixed_point"}, "feedback: 'fixed_point' is known for chains .* write learned"),
    ({"skip": "some"}, "--set skip: unknown value 'some'"),
    ({"layers": [15, 30, 5]}, "'hidden2.basal' names no population"),
    ({"projections.skip2.to": "hidden1.basal"}, "projections.skip2: is a second projection"),
    ({"projections.skip.rule": "dfc_forward_voltage"}, "skip2: has another rule than its siblings"),
])
def test_refused_with_one_message(tmp_path, keys, message):
    with pytest.raises(InputError, match=message):
        trained(tmp_path, **keys)


@pytest.mark.parametrize(("protocol", "message"), [
    ("golden", "projections.more: is a skip projection; a reference case has the weights of a"),
    ("spiking_regression", "projections.more: is a skip projection, which learns on the rate")])
def test_refused_by_what_has_a_chain_only(tmp_path, protocol, message):
    with pytest.raises(InputError, match=message):
        run(protocol, out=tmp_path / "x.h5", quick=True, progress=False, keys={
            "projections.more": {"from": "input.rate", "to": "output.basal", "w": 0.1}})
