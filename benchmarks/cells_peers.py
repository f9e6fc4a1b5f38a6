"""The reference cell RC3 in NEURON, CoreNEURON and Arbor, for ``cells_throughput.py``.

Each function runs one cell for each current (nA into the soma, 50 to 250 ms) and returns the
seconds that the steps took, with the spikes of each cell (ms) if they are asked for: crossings of
0 mV on the cubic through recorded steps, or NEURON's own where its steps are variable.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence

import numpy as np

from dfc_neuro.analysis import crossings

CYLINDERS = {"basal": (200, 5), "soma": (30, 30), "apical": (500, 4)}  # length, diameter, um
ON, OFF = 50, 250  # ms
Spikes = list[np.ndarray] | None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what a library prints by itself from the terminal."""
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(out, 1)
        os.close(out)
        os.close(nowhere)


def neuron_cell(h, current: float) -> dict:
    """Return sections and electrode of one cell, a segment each."""
    sections = {}
    for name, (length, diameter) in CYLINDERS.items():
        section = sections[name] = h.Section(name=name)
        section.L, section.diam, section.nseg, section.Ra, section.cm = length, diameter, 1, 150, 1
        section.insert("hh" if name == "soma" else "pas")
        if name != "soma":
            section.g_pas, section.e_pas = 1e-4, -65
    sections["basal"].connect(sections["soma"](0))
    sections["apical"].connect(sections["soma"](1))
    electrode = h.IClamp(sections["soma"](0.5))
    electrode.amp, electrode.delay, electrode.dur = current, ON, OFF - ON
    return {"electrode": electrode, **sections}


def neuron(currents: Sequence[float], stop: float, *, dt: float = 0.0, atol: float = 0.0,
           secondorder: int = 2, core: bool = False, spikes: bool = False
           ) -> tuple[float, Spikes]:
    """Run NEURON with fixed steps `dt`, or with a variable step for each cell at `atol`.

    Rates are computed, not read from the table (``usetable_hh = 0``); CoreNEURON if `core`.
    """
    from neuron import coreneuron, h

    h.load_file("stdrun.hoc")
    h.celsius, h.usetable_hh, h.secondorder = 6.3, 0, secondorder
    pc, steps = h.ParallelContext(), h.CVode()
    pc.gid_clear()
    times, ids, kept = h.Vector(), h.Vector(), []
    for k, current in enumerate(currents):
        cell = neuron_cell(h, current)
        pc.set_gid2node(k, pc.id())
        soma = cell["soma"]
        detector = h.NetCon(soma(0.5)._ref_v, None, sec=soma)
        detector.threshold = 0
        pc.cell(k, detector)
        pc.spike_record(k, times, ids)
        cell["detector"] = detector
        if spikes and dt:
            cell["v"], cell["t"] = h.Vector(), h.Vector()
            cell["v"].record(soma(0.5)._ref_v)
            cell["t"].record(h._ref_t)
        kept.append(cell)
    steps.cache_efficient(True)
    steps.active(not dt)
    steps.use_local_dt(not dt)
    if dt:
        h.dt = dt
    else:
        steps.atol(atol)
        steps.condition_order(2)  # interpolates crossings
    coreneuron.enable = core
    pc.set_maxstep(10)
    h.finitialize(-65)
    with quiet():
        began = time.perf_counter()
        pc.psolve(stop)
        taken = time.perf_counter() - began
    coreneuron.enable = False
    if not spikes:
        found = None
    elif dt:
        found = [crossings(np.array(c["t"]), np.array(c["v"]), 0.0) for c in kept]
    else:
        own = np.array(ids, int)
        found = [np.array(times)[own == k] for k in range(len(kept))]
    pc.gid_clear()
    steps.use_local_dt(False)
    steps.active(False)
    return taken, found


def arbor(currents: Sequence[float], stop: float, *, dt: float, spikes: bool = False
          ) -> tuple[float, Spikes]:
    """Run Arbor with steps `dt` on one thread."""
    import arbor as ab
    from arbor import units as u

    class Cells(ab.recipe):
        def __init__(self):
            super().__init__()
            tree = ab.segment_tree()
            (lb, db), (ls, ds), (la, da) = CYLINDERS.values()
            soma = tree.append(ab.mnpos, ab.mpoint(0, 0, 0, ds / 2),
                               ab.mpoint(ls, 0, 0, ds / 2), tag=1)
            tree.append(ab.mnpos, ab.mpoint(0, 0, 0, db / 2), ab.mpoint(-lb, 0, 0, db / 2), tag=2)
            tree.append(soma, ab.mpoint(ls, 0, 0, da / 2), ab.mpoint(ls + la, 0, 0, da / 2), tag=3)
            # Arbor reads these later: without references of ours the process dies
            self.morphology = ab.morphology(tree)
            self.labels = ab.label_dict({"soma": "(tag 1)", "dendrites": "(join (tag 2) (tag 3))",
                                         "middle": "(on-components 0.5 (tag 1))"})
            self.policy = ab.cv_policy("(every-segment)")
            self.properties = ab.neuron_cable_properties()
            self.decors = [self.decor(current) for current in currents]

        def decor(self, current):
            decor = ab.decor()
            decor.set_property(Vm=-65 * u.mV, cm=0.01 * u.F / u.m2, rL=150 * u.Ohm * u.cm,
                               tempK=279.45 * u.Kelvin)
            decor.set_ion("na", rev_pot=50 * u.mV)
            decor.set_ion("k", rev_pot=-77 * u.mV)
            decor.paint('"soma"', ab.density("hh"))
            decor.paint('"dendrites"', ab.density("pas/e=-65", {"g": 1e-4}))
            decor.place('"middle"', ab.i_clamp(ON * u.ms, (OFF - ON) * u.ms, current * u.nA))
            decor.place('"middle"', ab.threshold_detector(0 * u.mV), "spikes")
            return decor

        def num_cells(self):
            return len(self.decors)

        def cell_kind(self, gid):
            return ab.cell_kind.cable

        def cell_description(self, gid):
            return ab.cable_cell(self.morphology, self.decors[gid], self.labels, self.policy)

        def global_properties(self, kind):
            return self.properties

        def probes(self, gid):
            return [ab.cable_probe_membrane_voltage('"middle"', "v")] if spikes else []

    recipe = Cells()
    simulation = ab.simulation(recipe, ab.context(threads=1))
    simulation.record(ab.spike_recording.all)
    handles = [simulation.sample((gid, "v"), ab.regular_schedule(max(dt, 0.005) * u.ms))
               for gid in range(len(currents) if spikes else 0)]
    began = time.perf_counter()
    simulation.run(stop * u.ms, dt * u.ms)
    taken = time.perf_counter() - began
    if not spikes:
        return taken, None
    samples = [simulation.samples(handle)[0][0] for handle in handles]
    return taken, [crossings(s[:, 0], s[:, 1], 0.0) for s in samples]
