"""Kernels made from a cell's text against Brian2, which runs the same text, and against SciPy."""

import logging
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy import special

from dfc_neuro import generated
from dfc_neuro.analysis import crossings
from dfc_neuro.kernels import _functions as functions
from dfc_neuro.kernels import cell
from dfc_neuro.run import run

STEP = """
kind = "recording"
summary = "A step into one compartment, an EPSC into another, noise, cells that differ"
on = "{cell}"
duration = "{duration} ms"
numerics = {{ method = "rk4", dt = "{dt} ms" }}
[stimuli.step]
type = "step"
at = "soma"
amplitude = "{amplitude}"
from = "5 ms"
to = "9.97 ms"
{more}
[conditions]
less = {{ "parameters.{varied}" = "0.9{unit}" }}
more = {{ "parameters.{varied}" = "1.1{unit}" }}
[record]
voltages = {{ what = {voltages}, every = "{every} ms" }}
spikes = {{ what = "spikes" }}
"""
DRIVE = """
[stimuli.noise]
type = "white"
at = "soma"
sigma = "20 pA*ms**0.5"
[stimuli.held]
type = "clamp"
at = "apical"
voltage = "-60 mV"
from = "12 ms"
to = "14 ms"
[stimuli.epsc]
type = "epsc"
at = "apical"
amplitude = "300 pA"
start = "15 ms"
tau_rise = "0.5 ms"
tau_decay = "5 ms"
"""
CELLS = {
    "rc3": {"duration": 25, "dt": 0.05, "amplitude": "1000 pA", "more": DRIVE, "every": 0.25,
            "varied": "c_m", "unit": " uF/cm**2",
            "voltages": ["V_m_basal", "V_m_soma", "I_Na"]},
    "l5_3c": {"duration": 15, "dt": 0.025, "amplitude": "2 nA", "more": "", "every": 0.5,
              "varied": "C_m_soma", "unit": "e2 pF", "voltages": ["V_m_apical", "Ca", "I_SK"]},
    "pinsky_rinzel": {"duration": 25, "dt": 0.02, "amplitude": "2 uA/cm**2", "more": "",
                      "every": 0.5, "varied": "g_c", "unit": " mS/cm**2",
                      "voltages": ["V_m_soma", "V_m_dendrite", "Ca"]},
}


def ran(text, target, path, **keys):
    with open("p.toml", "w", encoding="utf-8") as file:
        file.write(text)
    return run("./p.toml", out=path, seed=3, keys={"numerics.target": target, **keys},
               progress=False)


@pytest.mark.parametrize("name", CELLS)
def test_every_variable_equals_that_of_brian2(name, workdir):
    text = STEP.format(cell=name, **CELLS[name])
    one, other = (ran(text, target, f"{target}.h5") for target in ("numba", "numpy"))
    for variable in CELLS[name]["voltages"]:
        a, b = one["voltages"][variable], other["voltages"][variable]
        assert a.dims == b.dims and a.units == b.units
        spread = np.ptp(b.values)
        assert np.abs(b.values[:, 0] - b.values[:, 1]).max() > 1e-3 * spread > 0
        np.testing.assert_allclose(a.values, b.values, rtol=0, atol=1e-11 * spread)
    dt = CELLS[name]["dt"] * 1e-3
    for condition in ("less", "more"):
        found = [r.spikes["spikes"]["time"].values[r.spikes["spikes"]["condition"].values
                                                   == condition] for r in (one, other)]
        assert len(found[0]) == len(found[1]) >= 1
        # Brian2 names the start of the step in which the threshold was passed
        assert np.all((found[0] > found[1] - 1e-12) & (found[0] < found[1] + dt + 1e-12))


MANY = """
kind = "circuit"
summary = "Cells that nothing connects, more than one block of them"
populations.many = { n = 70, cell = "rc3" }
"""
STEPS = """
kind = "recording"
summary = "Two steps into all somata"
on = "./many.toml"
duration = "25 ms"
numerics = { method = "rk4", dt = "0.05 ms", target = "numba" }
stimuli.step = { type = "step", at = "many.soma", amplitude = "{current}", from = "5 ms" }
over.current = ["700 pA", "1000 pA"]
[record]
voltages = { what = ["V_m_soma"] }
spikes = { what = "spikes", units = [0, 69] }
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_spikes_are_interpolated_crossings_of_the_voltage(threads, workdir, monkeypatch):
    monkeypatch.setattr(cell, "WORTH_THREADS", 100)
    with open("many.toml", "w", encoding="utf-8") as file:
        file.write(MANY)
    result = ran(STEPS, "numba", "a.h5", **{"numerics.threads": threads})
    spikes, trace = result.spikes["spikes"], result["voltages"]["V_m_soma"]
    assert np.all(np.ptp(trace.values, axis=2) == 0)  # all cells of a condition are alike
    assert set(spikes["unit"].values) == {0, 69}
    for k, condition in enumerate(trace.coords["condition"]):
        expected = crossings(trace.coords["time"], trace.values[:, k, 0], 0.0)
        for unit in (0, 69):
            own = spikes["time"].values[(spikes["condition"].values == condition)
                                        & (spikes["unit"].values == unit)]
            np.testing.assert_allclose(own, expected, rtol=0, atol=1e-12)
        assert len(expected) == (2, 2)[k]


SMALL = """
kind = "cell"
summary = "FitzHugh and Nagumo's oscillator"
equations = '''
dv/dt   = (v - v**3/3 - w_r + I)/tau     : 1
dw_r/dt = (v + a - 0.8*w_r)/(12.5*tau)   : 1
'''
spike = { when = "v > 1" }
initial = { v = -1, w_r = -0.5 }
parameters = { a = 0.7, tau = "1 ms" }
compartments.soma = { voltage = "v", input = "I" }
"""
DRIVEN = """
kind = "recording"
summary = "An oscillator that is driven"
on = "./small.toml"
duration = "200 ms"
numerics = { method = "rk4", dt = "0.1 ms" }
stimuli.step = { type = "step", at = "soma", amplitude = 0.5 }
record.spikes = { what = "spikes" }
"""


def test_another_parameter_compiles_nothing_new(workdir, monkeypatch, caplog):
    monkeypatch.setenv("DFC_NEURO_CACHE", str(workdir / "cache"))
    generated.module.cache_clear()
    with open("small.toml", "w", encoding="utf-8") as file:
        file.write(SMALL)

    def files():
        return {p.name: p.stat().st_mtime_ns for p in (workdir / "cache").rglob("*") if p.is_file()}

    with caplog.at_level(logging.INFO):
        first = ran(DRIVEN, "numba", "a.h5")
    assert any("made from the equations (numba)" in r.message for r in caplog.records)
    before = files()
    assert any(name.endswith(".nbc") for name in before)
    slower = ran(DRIVEN, "numba", "b.h5", **{"parameters.tau": "2 ms"})
    rest = ran(DRIVEN, "numba", "c.h5", **{"stimuli.step.amplitude": 0})
    assert files() == before
    times = [r.spikes["spikes"]["time"].values for r in (first, slower, rest)]
    assert len(times[0]) >= 4 and len(times[2]) == 0
    # time counts in tau: twice the constant, and the same spikes at twice the time
    np.testing.assert_allclose(times[1], 2 * times[0][:len(times[1])], rtol=1e-5)
    generated.module.cache_clear()


@pytest.mark.parametrize(("ours", "exact", "points"), [
    ("exp", np.exp, np.linspace(-700, 700, 5001)),
    ("expm1", np.expm1, np.concatenate([np.linspace(-50, 50, 5001), 10.0 ** np.arange(-18, 0)])),
    ("exprel", special.exprel, np.concatenate([np.linspace(-50, 50, 5001), [0.0, 1e-9, -1e-300]])),
    ("tanh", np.tanh, np.concatenate([np.linspace(-30, 30, 5001), 10.0 ** np.arange(-18, 0)])),
    ("log", np.log, np.concatenate([10.0 ** np.arange(-300, 300), np.linspace(0.5, 2, 1001)])),
])
def test_functions_are_exact_to_three_units_in_the_last_place(ours, exact, points):
    found = np.array([getattr(functions, ours)(x) for x in points])
    np.testing.assert_allclose(found, exact(points), rtol=7e-16, atol=0)


def test_what_is_no_number_stays_none():
    for name in ("exp", "expm1", "exprel", "tanh", "log"):
        assert np.isnan(getattr(functions, name)(np.nan))
    assert np.isnan(functions.log(-1.0)) and functions.exp(-1e4) < 1e-300


def test_a_change_in_what_a_kernel_calls_is_no_old_number(repository, workdir, monkeypatch):
    """Numba by itself looks at the kernel's own file only."""
    package = shutil.copytree(repository / "dfc_neuro", workdir / "dfc_neuro",
                              ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("DFC_NEURO_CACHE", str(workdir / "cache"))
    callee = package / "kernels" / "_functions.py"
    code = ("import numpy as np; from dfc_neuro.rates._elementwise import deviation; "
            "zero, out = np.zeros(1), np.empty(1); "
            "deviation(1, zero, zero, zero + 0.5, out); print(out[0])  # tanh(0.5)")

    def found():
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                    check=True).stdout)

    before = found()
    text = callee.read_text(encoding="utf-8")
    callee.write_text(text.replace("grown / (grown + 2.0)", "grown / (grown + 3.0)"),
                      encoding="utf-8")
    e = math.e - 1
    assert [before, found()] == pytest.approx([e / (e + 2), e / (e + 3)], rel=1e-15)
