"""Target ``cpp_standalone``: a batch as one C++ program, which runs from beginning to end.

Nothing of Python runs between two steps.  So the stimuli become tables, all that is recorded is
held in memory until the end, and the states are looked at only then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

import brian2 as b2
import numpy as np

from dfc_neuro.brian import device
from dfc_neuro.brian.build import Built, build, initialise
from dfc_neuro.brian.guard import watch
from dfc_neuro.brian.monitors import Monitored, monitored
from dfc_neuro.brian.plan import Batch
from dfc_neuro.brian.stimuli import CURRENTS, Stimuli
from dfc_neuro.brian.text import brian_quantity, dimension_of, reporting
from dfc_neuro.brian.wiring import Part
from dfc_neuro.errors import EngineError
from dfc_neuro.files.units import Quantity, unit_text
from dfc_neuro.rates import threads

Array = np.ndarray
TABLED = ("step", "pulse", "epsc")  # stimuli that are alike in all units of a condition
INSTEAD = "set numerics.target = \"auto\""
log = logging.getLogger("dfc_neuro.brian")


@dataclass
class Held(Monitored):
    """What a monitor of a program recorded, read once."""

    values: dict[str, Array] = field(default_factory=dict)
    found: tuple[Array, Array] = (np.zeros(0), np.zeros(0, int))

    @classmethod
    def of(cls, monitored: Monitored) -> Held:
        """Return the same recording."""
        return cls(**{f.name: getattr(monitored, f.name) for f in fields(Monitored)})

    def read(self) -> None:
        """Copy what was recorded, before the program is forgotten."""
        variables = self.monitor.variables
        if self.every is None:
            times, index = (np.array(variables[k].get_value()) for k in ("t", "i"))
            self.found = times, index
            return
        shape = (-1, self.replicas, len(self.indices))
        self.values = {variable: np.array(variables[own].get_value()).reshape(shape)
                       for variable, own in self.variables.items()}

    def raw(self) -> dict[str, Array]:
        return self.values

    def raw_spikes(self) -> tuple[Array, Array]:
        return self.found


class Whole:
    """One batch as a C++ program.

    Parameters as of `recording.Running`.

    Raises
    ------
    EngineError
        If the batch has what needs Python between two steps.
    """

    def __init__(self, batch: Batch, labels: Sequence[str], seeds: np.random.SeedSequence):
        self.batch, protocol = batch, batch.protocols[0]
        noise, draws = seeds.spawn(2)
        self.seed = int(draws.generate_state(1)[0])
        self.stimuli = Stimuli(batch.protocols, batch.scheme, batch.dt, batch.duration, noise)
        self.labels = [f"condition {labels[k]}" for k in batch.positions]
        _check(self.stimuli, protocol)
        with device.randomness(self.seed), reporting(protocol.label):
            self.built: Built = self._build(self.stimuli.parts)  # says what is wrong, in Python
            if self.built.delayed:
                raise EngineError(f"{protocol.label}: numerics.target", "'cpp_standalone' runs no "
                                  "rule that reads a variable late", INSTEAD)
            self.monitors = [Held.of(m) for m in monitored(protocol, self.built)]
            self.tables: dict[str, Array] = {}
            self.parts = self._tabled()
        device.claim(self.built.network())
        self.w = {link.name: np.broadcast_to(link.w, (len(batch.positions), len(link.pre)))
                        for link in batch.scheme.links}
        self.threads = protocol.numerics.threads or threads.available()
        log.info("a C++ program (cpp_standalone) on %d threads: it runs whole, and the file is "
                 "written at the end", self.threads)

    def _build(self, parts) -> Built:
        batch, stimuli = self.batch, self.stimuli
        return build(batch.scheme, replicas=len(batch.positions), dt=batch.dt,
                     method=batch.method, attached=stimuli.attached, varied=batch.varied,
                     trains=stimuli.trains, added=parts)

    def _tabled(self) -> dict[str, list[Part]]:
        """Return the text of the stimuli, each of which reads a table (steps, replicas)."""
        steps, replicas = round(self.batch.duration / self.batch.dt), len(self.batch.positions)
        parts = {node: list(own) for node, own in self.stimuli.parts.items()}
        names = [n for n, s in self.batch.protocols[0].stimuli.items() if s.type in CURRENTS]
        for name, waveform in zip(names, self.stimuli.waveforms(self.built), strict=True):
            node, variable = self.stimuli.places[name].node, f"{name}_electrode"
            array = self.built.array(node, variable).reshape(replicas, -1)
            table = np.empty((steps, replicas))
            step = 0
            while step < steps:
                waveform(step)
                until = int(min(steps, waveform.until(step)))
                table[step:until] = array[:, 0]
                step = until
            dims = dimension_of(self.built.groups[node].variables[variable])
            self.tables[f"{name}_table"] = table * brian_quantity(Quantity(1.0, dims, ""))
            line = (f"{variable} = {name}_table(t, i // {array.shape[1]}) : "
                    f"{unit_text(dims)} (constant over dt)")
            kept = [replace(part, lines=[own for own in part.lines
                                         if not own.startswith(f"{variable} :")])
                    for part in parts.get(node, [])]
            parts[node] = [*kept, Part([line])]
        return parts

    def weights(self, name: str) -> Array:
        """Return the weights of a projection (replicas, synapses)."""
        return self.w[name]

    def advance(self, seconds: float, report: Callable[[float], None]) -> None:
        """Compile the program and run it for its whole time."""
        protocol = self.batch.protocols[0]
        with device.program(self.seed, self.threads) as run, reporting(protocol.label):
            self.built = self._build(self.parts)
            tables = {name: b2.TimedArray(table, dt=self.batch.dt * b2.second, name=name)
                      for name, table in self.tables.items()}
            for name in self.batch.scheme.cells:
                self.built.groups[name].namespace.update(tables)
            running = monitored(protocol, self.built)
            self.built.extra += [m.monitor for m in running]
            initialise(self.built)
            run(self.built.network(), seconds)
            watch(self.built, self.labels, protocol.numerics.bound)(0.0, seconds)
            for held, one in zip(self.monitors, running, strict=True):
                held.monitor = one.monitor
                held.read()
            for name, synapses in self.built.synapses.items():
                w = np.array(synapses.variables["w"].get_value())
                self.w[name] = w.reshape(len(self.batch.positions), -1)
        report(1.0)


def _check(stimuli: Stimuli, protocol) -> None:
    """Refuse stimuli that Python writes step by step, by name."""
    for name, stimulus in protocol.stimuli.items():
        where = f"{protocol.label}: stimuli.{name}"
        if stimulus.type not in (*TABLED, "spikes", "poisson"):
            raise EngineError(f"{where}.type", f"'{stimulus.type}' is not offered by target "
                              f"'cpp_standalone', which has {', '.join(TABLED)}, spikes, poisson",
                              INSTEAD)
        if stimuli.places[name].variable:
            raise EngineError(f"{where}.at", "target 'cpp_standalone' drives compartments and "
                              f"sources of spikes only, '{stimulus.at}' is none", INSTEAD)
