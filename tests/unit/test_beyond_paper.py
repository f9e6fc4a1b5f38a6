"""Other nonlinearities, depths and widths than the paper's, with the same diagnostics."""

import itertools

import numpy as np
import pytest

from dfc_neuro.run import run

KEYS = {"data.train": 256, "data.validation": 0, "data.test": 10, "data.width": 8,
        "diagnostics.samples": 16, "schedule.before.feedback": 30, "schedule.epochs": 3,
        "phases.control.steps": 150, "optimisers.W.lr": 0.2}


@pytest.mark.parametrize(("nonlinearity", "layers"), [
    ("tanh", [15, 30, 5]), ("relu", [15, 12, 9, 5]), ("leaky_relu", [15, 8, 8, 8, 5]),
    ("sigmoid", [15, 20, 7, 5]), ("tanh", [15, 6, 6, 6, 6, 5])])
def test_learning_and_diagnostics(tmp_path, nonlinearity, layers):
    result = run("dfc_fig3", out=tmp_path / "x.h5", progress=False, keys={
        **KEYS, "nonlinearity": nonlinearity, "layers": layers})
    sizes = [result.weights[f"W{i}"].values.shape for i in range(1, len(layers))]
    assert sizes == [(n, m) for m, n in itertools.pairwise(layers)]
    found = {name: result.metrics[name].values for name in result.metrics}
    for name in ("condition_1", "condition_2", "stability_A_PI", "angle_mn", "angle_gn",
                 "angle_ssa", "angle_bp"):
        assert np.isfinite(found[name]).all(), name
    assert found["train_loss"][-1] < found["train_loss"][1]
    assert found["condition_2"][-1] > found["condition_2"][0]  # Q turned into the row space
    assert (found["stability_A_PI"][1:] < 0).all()
    assert found["angle_ssa"][-1] < found["angle_ssa"][0]
