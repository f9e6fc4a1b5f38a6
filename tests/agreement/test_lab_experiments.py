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


BAC = """
kind = "recording"
summary = "BAC pairing, with apical sodium channels blocked as well"
extends = "bac_pairing"
conditions.sodium = { "parameters.g_Na_apical" = "0 nS" }
over.lag = ["-12 ms", "-10 ms", "5 ms", "15 ms"]
record.filters = { what = ["u_plus", "u_slow"], of = "test", every = "0.1 ms" }
record.pre = { what = "x", of = "test", every = "0.1 ms" }
"""


@pytest.fixture(scope="module")
def bac(tmp_path_factory):
    """Pairing with all channels, without calcium, without sodium: at a lag beyond and three in."""
    path = tmp_path_factory.mktemp("bac")
    (path / "bac.toml").write_text(BAC, encoding="utf-8")
    keys = {"numerics.target": "numpy", "duration": "130 ms", "stimuli.pre.times": ["60 ms"]}
    protocol = resolve.protocol(str(path / "bac.toml"), keys, quick=True)
    with Writer(path / "bac.h5", {"seed": 1}) as writer:
        brian.record(protocol, writer, 1, progress=False)
    result = Result(path / "bac.h5")
    found = measures(protocol, result)
    return result, {k: np.reshape(found[f"measures/{k}"].values, (3, 4))
                    for k in ("potentiation", "depression", "apical_peak", "time_above")}


def test_bac_pairing_potentiates_inside_the_window_only(bac):
    """The window of this cell: EPSC 10 ms after to 15 ms before the somatic pulse, not beyond."""
    _, found = bac
    calcium, blocked, _ = found["potentiation"]
    assert calcium[0] == 0 and np.all(calcium[1:] > 1e-3)
    assert np.all(calcium[1:] > 20 * blocked[1:])
    depressed = found["depression"][:2]
    assert np.all(depressed[:, 2:] == 0) and np.all(depressed[:, :2] < -5e-4)


def test_the_apical_sodium_spike_is_why_the_rule_reads_a_slow_voltage(bac):
    """Without calcium the voltage itself passes -30 mV for 3 ms: no threshold tells that apart.

    The potentiation of a rule that reads the voltage (Clopath et al. 2010) is summed here from what
    was recorded, at thresholds from -45 to 0 mV.
    """
    result, found = bac
    peak, above = 1e3 * found["apical_peak"], 1e3 * found["time_above"]
    assert np.all(peak[1, 1:] > 10) and np.all((above[1, 1:] > 2) & (above[1, 1:] < 3.5))
    assert np.all(above[0, 1:] > 20) and np.all(above[:, 0] == 0)
    # the sodium spike also sets off the plateau: without it there is neither
    assert peak[2].max() < -30 and np.all(found["potentiation"][2] == 0)

    V = 1e3 * result["voltage"]["V_m_apical"].values[:, :, 0]
    u_plus, u_slow = (1e3 * result["filters"][k].values[:, :, 0] for k in ("u_plus", "u_slow"))
    x = result["pre"]["x"].values[:, :, 0]

    def potentiation(voltage, theta):
        drive = 8e-5 * x * np.maximum(voltage - theta, 0) * np.maximum(u_plus + 70.6, 0)
        return np.reshape(1e-4 * drive.sum(axis=0), (3, 4))

    np.testing.assert_allclose(potentiation(u_slow, -30), found["potentiation"], rtol=0.03,
                               atol=1e-9)
    for theta in range(-45, 1, 5):
        calcium, blocked, _ = potentiation(V, theta)[:, 1:]
        assert np.all(calcium < 8 * blocked)


def integral(V, spikes, pre, at, dt, hold):
    """Return the change of weights up to times `at` (steps), over eta, by the closed form of PI.

    Urbanczik and Senn 2014, doi:10.1016/j.neuron.2013.11.030, as in NEST: the integral of
    PI (1 - exp(-(t - s)/tau_Delta)), PI = (S - r_max p)(1 - p) psp.  `V` (mV) and spikes of the
    soma (steps) are those of the simulation; traces are made here from the presynaptic spikes
    (steps).  Between samples V is held, or else a line.
    """
    tau_L, tau_s, tau_Delta, r_max = 0.010, 0.003, 0.1, 150.0
    steps = np.arange(len(V))
    traces = []
    for tau in (tau_L, tau_s):
        x = np.array([np.bincount(p, minlength=len(V)) for p in pre], float).T
        for k in steps[1:]:
            x[k] += x[k - 1] * np.exp(-dt / tau)
        traces.append(x)
    psp = (traces[0] - traces[1]) * tau_s / (tau_L - tau_s)
    p = 1 / (1 + 0.5 * np.exp((-55 - V) / 3))
    changes = []
    for end in at:
        seen = spikes[spikes <= end]
        change = (((1 - p[seen]) * (1 - np.exp(-(end - seen) * dt / tau_Delta)))[:, None]
                  * psp[seen]).sum(axis=0)
        for inside in (np.arange(16) + 0.5) / 16:  # of each step
            voltage = V[:end] if hold else V[:end] * (1 - inside) + V[1:end + 1] * inside
            q = 1 / (1 + 0.5 * np.exp((-55 - voltage) / 3))
            kernel = (traces[0][:end] * np.exp(-inside * dt / tau_L)
                      - traces[1][:end] * np.exp(-inside * dt / tau_s)) * tau_s / (tau_L - tau_s)
            kernel *= 1 - np.exp(-(end - steps[:end] - inside) * dt / tau_Delta)[:, None]
            change -= r_max * dt / 16 * (q * (1 - q)) @ kernel
        changes.append(change)
    return np.array(changes)


def test_weights_of_the_dendritic_prediction_are_the_integral(workdir):
    """Five patterns, taught from the start, the protocol's own step and method.

    The rule reads the dendrite's prediction at the beginning of each step and holds it for the
    step, as a sampled integral does: to that one the weights are equal, up to the step's method.
    To the integral of a voltage that moves on within the step the error is one of first order in
    dt, here 0.1 to 0.4 per cent of the largest change.
    """
    dt = 0.1e-3
    _, result = ran("dendritic_prediction", quick=False, duration="500 ms", taught="500 ms",
                    over__draw=[0, 1, 2, 3, 4], plastic__test__n=30, plastic__test__scale="2 nA",
                    numerics__target="numpy", stimuli__pattern__repeat=3,
                    stimuli__excitation__from="0 ms", stimuli__inhibition__from="0 ms",
                    record__voltages__every="0.1 ms", measure={},
                    record__fired={"what": "spikes"},
                    record__weights={"what": ["w", "x_s"], "of": "test", "every": "0.1 ms"})
    V = 1e3 * result["voltages"]["V_predicted"].values[:, :, 0]
    w, x_s = (result["weights"][k].values for k in ("w", "x_s"))
    held, between = [], []
    for c, label in enumerate(result["weights"]["w"].coords["condition"]):
        # what a spike does is there at the end of its step
        fired = result.spikes["fired"]
        times = fired["time"].values[fired["condition"].values == label]
        spikes = np.rint(times / dt).astype(int) + 1
        jumps = np.rint(x_s[1:, c] - x_s[:-1, c] * np.exp(-dt / 3e-3)).astype(int)
        pre = [np.repeat(np.arange(1, len(V)), jumps[:, j]) for j in range(w.shape[2])]
        ends = np.unique(np.concatenate(pre))[-1:20:-40]  # weights where presynaptic spikes arrive
        change = w[ends, c] - w[0, c]
        assert len(spikes) > 20 and w[:, c].min() > 0  # no weight at its bound
        for errors, hold in ((held, True), (between, False)):
            expected = 0.1 * integral(V[:, c], spikes, pre, ends, dt, hold)
            errors.append(np.abs(change - expected).max() / np.abs(change).max())
    assert max(held) < 1e-3
    assert 1e-3 < max(between) < 6e-3


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
