"""The reference cell side by side with NEURON, when it is installed (extra ``oracles``)."""

import numpy as np
import pytest

from dfc_neuro import brian
from dfc_neuro.analysis import crossings
from dfc_neuro.files import resolve
from dfc_neuro.results import Result, Writer

STIMULI = {  # condition of rc3_steps: compartment, amplitude (nA), from, to (ms)
    "soma": [("soma", 1.0, 50, 250)],
    "apical": [("apical", 1.5, 50, 250)],
    "both": [("basal", 0.5, 50, 250), ("apical", 0.3, 100, 180)],
}


@pytest.fixture(scope="module")
def neuron():
    """Return NEURON, its rates computed and not read from a table, its steps variable."""
    h = pytest.importorskip("neuron").h
    h.load_file("stdrun.hoc")
    h.celsius = 6.3
    h.usetable_hh = 0
    return h


def spikes(h, stimuli):
    """Return the spike times of three cylinders of one segment each, ms."""
    sections = {}
    for name, length, diameter in (("basal", 200, 5), ("soma", 30, 30), ("apical", 500, 4)):
        section = sections[name] = h.Section(name=name)
        section.L, section.diam, section.nseg, section.Ra, section.cm = length, diameter, 1, 150, 1
        section.insert("hh" if name == "soma" else "pas")
        if name != "soma":
            section.g_pas, section.e_pas = 1e-4, -65
    sections["basal"].connect(sections["soma"](0))
    sections["apical"].connect(sections["soma"](1))
    electrodes = []
    for place, amplitude, start, stop in stimuli:
        electrode = h.IClamp(sections[place](0.5))
        electrode.amp, electrode.delay, electrode.dur = amplitude, start, stop - start
        electrodes.append(electrode)
    found, detector = h.Vector(), h.NetCon(sections["soma"](0.5)._ref_v, None,
                                           sec=sections["soma"])
    detector.threshold = 0
    detector.record(found)
    steps = h.CVode()
    steps.active(True)
    steps.atol(1e-10)
    steps.condition_order(2)  # interpolates the crossing
    h.finitialize(-65)
    h.continuerun(300)
    steps.active(False)
    return np.array(found)


def test_spike_times_equal_those_of_neuron(neuron, workdir):
    with Writer("result.h5", {"seed": 0}) as writer:
        brian.record(resolve.protocol("rc3_steps"), writer, 0, progress=False)
    soma = Result("result.h5")["voltages"]["V_m_soma"]
    for name, stimuli in STIMULI.items():
        own = crossings(soma.coords["time"], soma.sel(condition=name).values[:, 0], 0.0) * 1e3
        np.testing.assert_allclose(own, spikes(neuron, stimuli), atol=5e-4)
