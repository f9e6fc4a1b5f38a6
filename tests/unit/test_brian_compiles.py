"""When Brian2's code is compiled (target cython); another parameter compiles nothing new."""

from types import SimpleNamespace

import brian2 as b2
import pytest
from brian2.codegen.runtime.cython_rt.extension_manager import cython_extension_manager

import dfc_neuro as dn
from dfc_neuro.brian import device
from dfc_neuro.brian.text import operations

RECORDING = """
kind = "recording"
summary = "A synapse that learns, current, noise and spikes on a cell"
on = "pyramidal_escape"
duration = "20 ms"
numerics = { method = "rk4", dt = "0.1 ms", target = "cython" }
variables.amplitude = "300 pA"
[plastic]
test = { at = "basal", rule = "clopath", synapse = "ampa", scale = "1 nS", w = 0.5 }
[stimuli]
step   = { type = "step", at = "soma", amplitude = "{amplitude}", from = "5 ms" }
noise  = { type = "ou", at = "apical", sigma = "20 pA", tau = "2 ms" }
inputs = { type = "poisson", at = "test", rate = "50 Hz" }
[record]
voltages = { what = ["V_m_soma", "V_m_apical"], every = "1 ms" }
spikes   = { what = "spikes" }
"""
LEARNING = {"layers": [3, 4, 2], "data.inputs": 3, "data.train": 4, "data.batch": 2, "data.test": 2,
            "schedule.before.feedback": 1, "schedule.epochs": 1, "numerics.read_out": "0.05 s",
            "phases.control.free": 1, "phases.control.duration": 1, "phases.control.read": 1,
            "phases.feedback.duration": 1, "phases.feedback.read": 1, "numerics.target": "cython",
            "record": {"epochs": {"what": ["loss"]}}}


@pytest.fixture
def handed_over(workdir, monkeypatch):
    """Return a function that runs a protocol, and gives the sources that went to the compiler.

    They are not compiled: what the cells would do does not matter here.
    """
    sources: list[str] = []

    def create(code, **_):
        sources.append(code)
        return SimpleNamespace(main=lambda namespace: None)

    monkeypatch.setattr(cython_extension_manager, "create_extension", create)

    def run(protocol, **keys):
        sources.clear()
        dn.run(protocol, out=workdir / "r.h5", force=True, progress=False, seed=1, keys=keys)
        return set(sources)

    return run


def test_another_parameter_of_a_recording_compiles_nothing(handed_over):
    with open("p.toml", "w", encoding="utf-8") as file:
        file.write(RECORDING)
    first = handed_over("./p.toml")
    assert len(first) > 5
    assert handed_over("./p.toml", **{
        "parameters.g_L_soma": "7 nS", "amplitude": "350 pA", "duration": "30 ms",
        "plastic.test.parameters.tau_x": "12 ms", "numerics.dt": "0.05 ms",
        "stimuli.noise.tau": "3 ms", "record.voltages.every": "2 ms"}) == first
    assert handed_over("./p.toml", **{"numerics.method": "rk2"}) - first


def test_another_parameter_of_learning_compiles_nothing(handed_over):
    first = handed_over("spiking_regression", **LEARNING)
    assert len(first) > 5
    assert handed_over("spiking_regression", **LEARNING, **{
        "rules.eta": "3 Hz", "controllers.control.alpha": 0.1, "cells.g_basal_soma": "10 nS",
        "optimisers.W.lr": 1.0}) == first


def test_operations_of_equations_are_counted():
    text = """dx/dt = (a*x - exp(-y))/tau : 1
              y = x**2                     : 1
              a                            : 1"""
    assert operations(b2.Equations(text, tau=b2.ms)) == 5 + 1  # * - exp - /, **


@pytest.mark.parametrize(("steps", "cells", "expected"), [
    (20_000, [(1008, 1)], "cython"),     # one layer-5 cell: a call for each operation
    (2_000, [(1008, 1)], "numpy"),
    (20_000, [(67, 1)], "numpy"),
    (20_000, [(1008, 1000)], "numpy"),   # a thousand: what is inside the calls, no faster compiled
    (20_000, [(67, 1), (67, 1), (67, 1), (1008, 1)], "cython"),
])
def test_what_has_many_operations_is_compiled_sooner(steps, cells, expected, monkeypatch):
    monkeypatch.setattr(device.CythonCodeObject, "is_available", lambda: True)
    assert device.choose("auto", steps, 3, 0, cells) == expected
