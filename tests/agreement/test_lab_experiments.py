"""Experiments on plasticity: what they must show, against bars and integrals made elsewhere."""

import numpy as np
import pytest

from dfc_neuro import brian
from dfc_neuro.errors import InputError
from dfc_neuro.files import resolve
from dfc_neuro.measures import measures
from dfc_neuro.results import Result, Writer


def ran(protocol, quick=True, **keys):
    resolved = resolve.protocol(protocol, {k.replace("__", "."): v for k, v in keys.items()}, quick)
    with Writer("result.h5", {"seed": 1}, force=True) as writer:
        brian.record(resolved, writer, 1, progress=False)
    return resolved, Result("result.h5")


def test_bac_pairing_potentiates_inside_the_window_only(workdir):
    """The window of this cell: EPSC 10 ms after to 15 ms before the somatic pulse, not beyond.

    Without calcium channels the apical sodium spike still passes -30 mV for a moment: about a
    third of the potentiation stays, not the twentieth that was hoped for.
    """
    protocol, result = ran("bac_pairing", over__lag=["-20 ms", "-12 ms", "-10 ms", "5 ms", "15 ms"],
                           numerics__target="numpy", duration="130 ms",
                           stimuli__pre__times=["60 ms"])
    found = measures(protocol, result)["measures/potentiation"]
    calcium, blocked = np.reshape(found.values, (2, 5))
    outside, inside = calcium[:2], calcium[2:]
    assert inside.min() > 20 * outside.max() and inside.min() > 3e-3
    assert np.all(blocked[:2] == 0)
    assert np.all((inside > 2.5 * blocked[2:]) & (inside < 5 * blocked[2:]))
    depressed = measures(protocol, result)["measures/depression"].values.reshape(2, 5)
    assert np.all(depressed[:, 3:] == 0) and np.all(depressed[:, :3] < -5e-4)


def test_dendritic_prediction_learns_and_its_weights_are_the_integral(workdir):
    """Two seconds of teaching; weights from the recorded voltages and spikes by brute force."""
    dt = 0.25e-3
    _, result = ran("dendritic_prediction", duration="2.2 s", taught="2.2 s",
                    plastic__test__n=40, plastic__test__scale="1.5 nA", numerics__target="numpy",
                    plastic__test__parameters__eta=0.1,
                    record__voltages__every="0.25 ms",
                    record__fired={"what": "spikes"},
                    record__weights={"what": ["w", "x_L", "x_s"], "of": "test", "every": "0.25 ms"},
                    measure={})
    V = result["voltages"]["V_predicted"].values[:, 0, 0] * 1e3
    x_L, x_s, w = (result["weights"][k].values[:, 0] for k in ("x_L", "x_s", "w"))
    fired = np.rint(result.spikes["fired"]["time"].values / dt).astype(int)
    assert len(fired) > 20
    p = 1 / (1 + 0.5 * np.exp((-55 - V) / 3))
    psp = (x_L - x_s) * 3 / 7
    spikes = np.zeros(len(V))
    spikes[fired[fired < len(V) - 1]] = 1
    # a spike is seen at the end of its step
    drive = (np.roll(spikes, 1) - 150 * p * dt)[:, None] * ((1 - p)[:, None] * psp)
    Delta, expected = np.zeros(w.shape[1]), [w[0]]
    for k in range(1, len(w)):
        expected.append(np.clip(expected[-1] + 0.1 * dt * Delta, 0, 4.5))
        Delta = Delta * np.exp(-dt / 0.1) + drive[k] / 0.1
    change = np.abs(w[-1] - w[0]).max()
    assert change > 0.02
    assert np.abs(w[-1] - expected[-1]).max() < 0.02 * change


def test_plastic_synapses_take_parameters_and_numbers(workdir):
    _, result = ran("clopath_clamp", over__voltage=["-50 mV"], plastic__test__n=3,
                    plastic__test__parameters__A_LTD="28e-5 / mV")
    w = result.weights["test"].values
    assert w.shape == (1, 3)
    np.testing.assert_allclose(w, 0.5 - 25 * 20.6 * 28e-5, rtol=1e-9)
    with pytest.raises(InputError, match="no such parameter; did you mean 'theta_minus'"):
        resolve.protocol("clopath_clamp", {"plastic.test.parameters.theta_mins": 1})
    with pytest.raises(InputError, match=r"plastic\.test sets it: on_pre"):
        resolve.protocol("clopath_clamp", {"plastic.test.parameters.A_LTD": "1 mV"})


def test_clamp_of_the_hippocampal_set_crosses_zero_at_minus_19_mv(workdir):
    u = np.array([-41, -39, -38, -30, -19.01, -19, -18.99, -10])
    _, result = ran("clopath_clamp", quick=False, numerics__method="rk4", duration="1000 ms",
                    plastic__test__rule="clopath_hippocampus", numerics__dt="0.5 ms",
                    over__voltage=[f"{v} mV" for v in u])
    w = result["test"]["w"].values[:, :, 0]
    each = np.maximum(u + 41, 0) * (2e-5 * np.maximum(u + 38, 0) - 38e-5)
    np.testing.assert_allclose(w[1] - w[0], 25 * each, atol=1e-6)
    np.testing.assert_array_equal(np.sign(np.round(w[1] - w[0], 7)), [0, -1, -1, -1, -1, 0, 1, 1])


def test_an_unpaired_synapse_keeps_its_weight_where_nothing_depresses(workdir):
    protocol, result = ran("heterosynaptic", numerics__target="numpy", duration="400 ms",
                           plastic__test__parameters__A_LTD="0 / mV", stimuli__pre__train__n=3)
    silent, active = result["test2"]["w"].values[:, :, 0].T
    assert np.all(silent == 0.5) and active[1] >= 0.5
    assert measures(protocol, result)["measures/other"].values[0] == 100.0


@pytest.fixture(scope="module")
def step(tmp_path_factory):
    """A step of the target, no change, and one downwards."""
    path = tmp_path_factory.mktemp("step") / "step.h5"
    protocol = resolve.protocol("dfc_step", {"numerics.target": "numpy"}, quick=True)
    with Writer(path, {"seed": 1}) as writer:
        brian.record(protocol, writer, 1, progress=False)
    return protocol, Result(path)


def test_control_moves_the_soma_to_its_target(step):
    _, result = step
    for layer, weight in (("hidden", 0.8), ("output", 1.0)):
        basal, apical, soma = (result[layer][f"v_{c}"].values[-1, :, 0]
                               for c in ("basal", "apical", "soma"))
        np.testing.assert_allclose(soma, basal + apical, atol=1e-3)  # W r + Q u
        np.testing.assert_allclose(apical, weight * result["control"]["u"].values[-1, :, 0],
                                   atol=2e-3)
    error = result["control"]["error"].values[:, :, 0]
    assert np.abs(error[-1]).max() < 0.01 < 0.1 < np.abs(error[:, 1]).max()


def test_weights_follow_the_sign_of_the_error(step):
    _, result = step
    for name in ("w1", "w2"):
        w, time = result[name]["w"].values, result[name]["w"].coords["time"]
        change = w[-1] - w[np.argmin(np.abs(time - 0.49))]  # condition, synapse
        assert np.abs(change[0]).max() < 1e-5  # at the target nothing changes
        assert np.all(change[1] > 2e-4) and np.all(change[2] < -2e-4)
