"""The reference cell RC3 against matrices, SciPy at full precision, and agreed spike times."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq

from dfc_neuro import brian
from dfc_neuro.analysis import crossings
from dfc_neuro.errors import NumericalError
from dfc_neuro.files import resolve
from dfc_neuro.results import Result, Writer

COMPARTMENTS = ("basal", "soma", "apical")
# As other simulators have it: capacities in pF, leaks and couplings in nS, from the geometry.
LENGTH, DIAMETER = np.array([200, 30, 500]) * 1e-4, np.array([5, 30, 4]) * 1e-4  # cm
AREA = np.pi * LENGTH * DIAMETER
C, G_PAS = AREA * 1e6, AREA * 1e-4 * 1e9
HALF = 150 * (LENGTH / 2) / (np.pi * DIAMETER**2 / 4) * 1e-9  # 1/nS
G_BS, G_SA = 1 / (HALF[0] + HALF[1]), 1 / (HALF[1] + HALF[2])
COUPLING = np.array([[G_BS, -G_BS, 0], [-G_BS, G_BS + G_SA, -G_SA], [0, -G_SA, G_SA]])
PASSIVE = """
kind = "recording"
summary = "100 pA out of each compartment, channels blocked"
on = "rc3"
duration = "290.25 ms"
numerics = { method = "rk4", dt = "0.25 ms" }
stimuli.basal = { type = "step", at = "basal", amplitude = "0 pA" }
stimuli.soma = { type = "step", at = "soma", amplitude = "0 pA" }
stimuli.apical = { type = "step", at = "apical", amplitude = "0 pA" }
conditions.basal = { "stimuli.basal.amplitude" = "-100 pA" }
conditions.soma = { "stimuli.soma.amplitude" = "-100 pA" }
conditions.apical = { "stimuli.apical.amplitude" = "-100 pA" }
record.voltages = { what = ["V_m_basal", "V_m_soma", "V_m_apical"], every = "290 ms" }
[set]
"parameters.gbar_Na" = "0 mS/cm**2"
"parameters.gbar_K" = "0 mS/cm**2"
"parameters.gbar_L_soma" = "0.1 mS/cm**2"
"parameters.E_L_soma" = "-65 mV"
"""
# Of NEURON, Brian2 and SciPy's LSODA at 1e-10, as in the reference; "both" is in none of them.
AGREED = {
    "soma": [51.6248, 65.0493, 77.9336, 90.7518, 103.5563, 116.3585, 129.1603, 141.9621, 154.7639,
             167.5657, 180.3675, 193.1693, 205.9711, 218.7729, 231.5747, 244.3765],
    "apical": [52.5752, 64.9432],
}
PEAKS = {"soma": (22.63, 33.06, -21.57), "apical": (22.159, 32.553, 13.26)}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a function that runs a protocol and returns times (ms) and {condition: mV}."""
    folder = tmp_path_factory.mktemp("rc3")

    def call(dt, protocol="rc3_steps", target="numba", **keys):
        given = {"numerics.dt": f"{dt} ms", "numerics.target": target}
        given |= {key.replace("__", "."): value for key, value in keys.items()}
        with Writer(folder / "result.h5", {"seed": 0}, force=True) as writer:
            brian.record(resolve.protocol(protocol, given), writer, 0, progress=False)
        found = Result(folder / "result.h5")["voltages"]
        traces = np.stack([found[f"V_m_{c}"].values[:, :, 0] for c in COMPARTMENTS], axis=-1) * 1e3
        soma = found["V_m_soma"]
        names = list(soma.coords["condition"])
        return soma.coords["time"] * 1e3, {n: traces[:, k] for k, n in enumerate(names)}

    return call


def test_passive_cell_is_the_matrix_solution(ran, workdir):
    (workdir / "passive.toml").write_text(PASSIVE, encoding="utf-8")
    G = np.diag(G_PAS) + COUPLING
    steady = np.linalg.solve(G, -100.0 * np.eye(3)).T  # (where it is injected, answers)
    np.testing.assert_allclose(steady[1], [-8.72991, -8.94030, -7.52741], atol=5e-6)
    np.testing.assert_allclose(steady[2], [-7.35026, -7.52741, -8.85303], atol=5e-6)
    _, traces = ran(0.25, "./passive.toml")  # 29 of the longest time constant
    answers = np.stack([traces[name][-1] for name in COMPARTMENTS]) + 65
    np.testing.assert_allclose(answers, steady, atol=1e-9)
    # on the way there, too, once the fastest mode has died away
    time, traces = ran(0.0125, "./passive.toml", duration="10 ms",
                       record__voltages__every="0.5 ms")
    A = G / C[:, None]
    np.testing.assert_allclose(np.sort(1 / np.linalg.eigvals(A)), [0.104555, 0.899147, 10],
                               atol=5e-7)
    exact = np.array([steady - (expm(-A * t) @ steady.T).T for t in time])
    error = np.abs(np.stack([traces[name] for name in COMPARTMENTS], axis=1) + 65 - exact)
    assert error[time >= 2].max() < 1e-9
    assert error.max() < 1e-6


def slope_of_active(t, y, current):
    """Right side of the active cell: mV, ms, pA; squid channels at 6.3 degrees in the soma."""
    v = y[1]
    m, h, n = y[3:]

    def vtrap(x, s):
        return s if abs(x) < 1e-9 else x / -np.expm1(-x / s)

    rates = ((0.1 * vtrap(v + 40, 10), 4 * np.exp(-(v + 65) / 18)),
             (0.07 * np.exp(-(v + 65) / 20), 1 / (1 + np.exp(-(v + 35) / 10))),
             (0.01 * vtrap(v + 55, 10), 0.125 * np.exp(-(v + 65) / 80)))
    leak = G_PAS * (-65 - y[:3])
    leak[1] = AREA[1] * 1e9 * (0.0003 * (-54.3 - v) - 0.12 * m**3 * h * (v - 50)
                               - 0.036 * n**4 * (v + 77))
    gates = [a * (1 - x) - b * x for (a, b), x in zip(rates, y[3:], strict=True)]
    return [*((leak - COUPLING @ y[:3] + current) / C), *gates]


STIMULI = {  # condition: amplitude (pA) in each compartment, from, to (ms)
    "soma": [(1, 1000, 50, 250)],
    "apical": [(2, 1500, 50, 250)],
    "both": [(0, 500, 50, 250), (2, 300, 100, 180)],
}


@pytest.fixture(scope="module")
def exact():
    """Return {condition: spike times} by SciPy at rtol 1e-12, halted at every edge."""
    found = {}
    for name, stimuli in STIMULI.items():
        y = [-65, -65, -65, 0.05293248525724958, 0.5961207535084603, 0.3176769140606974]
        edges = sorted({0, 300, *(t for s in stimuli for t in s[2:])})
        spikes = []
        for start, stop in pairwise(edges):
            current = np.zeros(3)
            for place, amplitude, on, off in stimuli:
                current[place] += amplitude * (on <= start < off)
            path = solve_ivp(slope_of_active, (start, stop), y, "DOP853", args=(current,),
                             rtol=1e-12, atol=1e-12, dense_output=True)
            y = path.y[:, -1]
            v = path.y[1]
            for k in np.flatnonzero((v[:-1] < 0) & (v[1:] >= 0)):
                spikes.append(brentq(lambda t, path=path: path.sol(t)[1], *path.t[k:k + 2],
                                     xtol=1e-13))
        found[name] = np.array(spikes)
    return found


def worst(time, traces, exact):
    """Return the largest error of a spike time in each condition, ms."""
    errors = []
    for name, expected in exact.items():
        spikes = crossings(time, traces[name][:, 1], 0.0)
        assert len(spikes) == len(expected), name
        errors.append(np.abs(spikes - expected).max())
    return np.array(errors)


@pytest.fixture(scope="module")
def at_the_step_of_the_reference(ran):
    return ran(0.05)


def test_spike_times_at_the_step_of_the_reference(at_the_step_of_the_reference, exact):
    time, traces = at_the_step_of_the_reference
    for name, expected in AGREED.items():
        np.testing.assert_allclose(exact[name], expected, atol=2e-4)  # LSODA, to four decimals
        np.testing.assert_allclose(crossings(time, traces[name][:, 1], 0.0), expected, atol=5e-4)
        np.testing.assert_allclose(traces[name].max(axis=0), PEAKS[name], atol=0.15)
    assert worst(time, traces, exact).max() < 5e-4


def test_fourth_order_in_the_step(ran, at_the_step_of_the_reference, exact):
    """Beyond 0.066 ms rk4 is not stable: the soma's conductance reaches 1.2 uS at 28 pF."""
    dts = np.array([0.0625, 0.05, 0.025])
    runs = [ran(0.0625), at_the_step_of_the_reference, ran(0.025)]
    for own in np.array([worst(*run, exact) for run in runs]).T:
        assert np.polyfit(np.log(dts), np.log(own), 1)[0] >= 3.5


@pytest.mark.parametrize("dt", [0.1, 0.2])
def test_a_step_too_coarse_for_the_cell(ran, dt):
    message = r"rc3\.toml: V_m_\w+ \((basal|soma|apical) compartment of unit 0 of 'cell', " \
        r"condition (soma|apical|both)\) (is not finite|passed 1) between 5\d(\.\d)? and 5\d" \
        r"(\.\d)? ms; lower numerics.dt"
    with pytest.raises(NumericalError, match=message):
        ran(dt, duration="100 ms")


def test_exponential_euler_is_harmful_and_says_so(ran, caplog):
    """At a step at which rk4 errs by 0.0002 ms."""
    with caplog.at_level("WARNING", logger="dfc_neuro"):
        time, traces = ran(0.05, target="numpy", duration="130 ms",
                           numerics__method="exponential_euler")
    assert "rc3_steps.toml: numerics.method: exponential_euler takes the currents" in caplog.text
    spikes = crossings(time, traces["soma"][:, 1], 0.0)
    assert np.abs(spikes - AGREED["soma"][: len(spikes)]).max() > 0.5
