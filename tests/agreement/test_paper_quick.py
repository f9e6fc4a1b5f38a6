"""The paper's toy experiments in the size of --quick: what they show is there already."""

import numpy as np
import pytest

from dfc_neuro.run import run


@pytest.fixture
def quick(tmp_path):
    """Return a function that runs a protocol in its small size."""
    return lambda name, **keys: run(name, out=tmp_path / "x.h5", quick=True, progress=False,
                                    keys=keys)


def test_control_reaches_the_target(quick):
    at = quick("dfc_fig1d")["control"].isel(epoch=-1, sample=0, unit=0)
    r, target, u = (at[name].values for name in ("r_output", "target", "u"))
    assert abs(r[-1] - target[-1]) < 0.3 * abs(r[0] - target[0])
    assert u[0] == 0 and abs(u[-1]) > 0
    assert abs(u[-1] - u[-2]) < 1e-2 * abs(u[-1])


def test_a_network_to_draw_feedback_directions_of(quick):
    result = quick("dfc_fig2")
    assert result.weights["W2"].values.shape == (2, 2)
    assert result["voltages"]["v_soma"].isel(epoch=0, time=0, sample=0).values.shape == (2,)


def test_learned_feedback_follows_the_conditions(quick):
    """Stable with learned Q and not with random Q; updates close to those of the steady state."""
    metrics = quick("dfc_fig3").metrics
    eigenvalue, angle = metrics["stability_A_PI"].values, metrics["angle_ssa"].values
    assert (eigenvalue[1:] < -0.2).all() and (angle[1:] < 30).all()
    assert metrics["condition_2"].values[1:].min() > metrics["condition_2"].values[0]
    loss = metrics["test_loss"].values
    assert (np.diff(loss) < 0).all()


@pytest.mark.parametrize("name", ["dfc_figS2", "dfc_figS3", "dfc_figS4"])
@pytest.mark.parametrize("nonlinearity", ["linear", "tanh"])
def test_feedback_weights_turn(quick, name, nonlinearity):
    metrics = quick(name, nonlinearity=nonlinearity).metrics
    for metric in ("angle_q_jt", "angle_q_pinv"):
        assert (np.diff(metrics[metric].values) < 0).all()
    assert (np.diff(metrics["condition_2"].values) > 0).all()
