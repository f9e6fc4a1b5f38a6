"""Orders of convergence inside a cell, and what a stimulus delivers whatever the step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from dfc_neuro import brian
from dfc_neuro.brian.waveforms import DoubleExponential, Piecewise
from dfc_neuro.files import load, resolve
from dfc_neuro.results import Result, Writer


def deflections(method, dt):
    """Voltages of pyramidal_escape (time, compartment) under a step and a pulse, in mV."""
    keys = {"numerics.method": method, "numerics.dt": f"{dt} ms",
            "record.voltages.every": "10 ms", "duration": "320 ms"}
    with Writer("result.h5", {"seed": 1}, force=True) as writer:
        brian.record(resolve.protocol("escape_step", keys), writer, 1, progress=False)
    traces = Result("result.h5")["voltages"]
    return np.stack([traces[f"V_m_{c}"].values[:, 0, 0] for c in ("basal", "soma", "apical")],
                    axis=1) * 1e3 + 70


def exact():
    """The same from the matrix exponential (pF, nS, pA, ms)."""
    q = {k: v.value * 1e9 for k, v in load("pyramidal_escape", "cell").constants.items()}
    bs, sa = q["g_basal_soma"], q["g_soma_apical"]
    G = np.array([[q["g_L_basal"] + bs, -bs, 0], [-bs, q["g_L_soma"] + bs + sa, -sa],
                  [0, -sa, q["g_L_apical"] + sa]])
    out = np.zeros((32, 3))
    for current, start, stop in (([0, 120, 0], 50, 200), ([0, 0, 200], 260, 280)):
        for k, t in enumerate(10.0 * np.arange(32)):
            on, off = max(t - start, 0.0), max(t - stop, 0.0)
            out[k] += (expm(-G * off / 100) - expm(-G * on / 100)) @ np.linalg.solve(G, current)
    return out


@pytest.mark.parametrize(("method", "order", "dts"), [
    ("euler", 1, (0.1, 0.05)), ("rk2", 2, (0.2, 0.1)), ("rk4", 4, (0.5, 0.25))])
def test_order_of_a_method(workdir, method, order, dts):
    expected = exact()
    errors = [np.abs(deflections(method, dt) - expected).max() for dt in dts]
    slope = np.polyfit(np.log(dts), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)


@given(start=st.floats(0, 5), width=st.floats(0.01, 4), dt=st.floats(0.05, 0.7))
def test_charge_of_a_pulse_does_not_depend_on_the_step(start, width, dt):
    array = np.zeros(2)
    pulse = Piecewise(array, [[(start, start + width, 3.0)], []], dt)
    charge = np.zeros(2)
    for step in range(int(10 / dt) + 1):
        pulse(step)
        charge += array * dt
    assert charge[0] == pytest.approx(3.0 * width, rel=1e-5)
    assert charge[1] == array[0] == 0.0


@given(onset=st.floats(0, 3), dt=st.floats(0.02, 0.5))
def test_double_exponential_has_its_peak_and_its_charge(onset, dt):
    array, rise, decay = np.zeros(1), 0.5, 5.0
    epsc = DoubleExponential(array, [np.array([onset])], np.array([600.0]), np.array([rise]),
                             np.array([decay]), dt)
    at = np.log(decay / rise) * rise * decay / (decay - rise)
    scale = 600.0 / (np.exp(-at / decay) - np.exp(-at / rise))

    def integral(t):
        t = np.maximum(np.asarray(t) - onset, 0)
        return scale * (decay * (1 - np.exp(-t / decay)) - rise * (1 - np.exp(-t / rise)))

    values = []
    for step in range(int(40 / dt)):
        epsc(step)
        values.append(array[0])
    edges = dt * np.arange(len(values) + 1)
    np.testing.assert_allclose(values, np.diff(integral(edges)) / dt, atol=1e-8)
    assert np.sum(values) * dt == pytest.approx(scale * (decay - rise), rel=2e-3)
    if dt < 0.05:
        assert max(values) == pytest.approx(600.0, rel=1e-3)
