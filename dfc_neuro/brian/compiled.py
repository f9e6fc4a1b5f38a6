"""Target ``numba``: cells that nothing connects, by kernels made from the text Brian2 would run.

Brian2 composes the equations and evaluates the initial values; the steps are `kernels`'.  Between
two changes of a stimulus, samples or looks of the guard, all cells advance in one call.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, SUBEXPRESSION

from dfc_neuro.brian.build import Built, build, initialise
from dfc_neuro.brian.device import randomness
from dfc_neuro.brian.guard import watch
from dfc_neuro.brian.monitors import Monitored, monitored
from dfc_neuro.brian.plan import Batch
from dfc_neuro.brian.stimuli import Stimuli
from dfc_neuro.brian.text import reporting
from dfc_neuro.errors import EngineError, ModelError
from dfc_neuro.files import text as grammar
from dfc_neuro.kernels import Cells, Text, distance
from dfc_neuro.kernels.text import INSTEAD, METHODS
from dfc_neuro.rates import threads

Array = np.ndarray
LONGEST = 200  # steps between two looks of the guard
log = logging.getLogger("dfc_neuro.brian")


@dataclass
class Sampled(Monitored):
    """What a monitor records, kept here: one array (replicas * units) a variable and sample."""

    node: str = ""
    kept: dict[str, list[Array]] = field(default_factory=dict)
    found: list[tuple[Array, Array]] = field(default_factory=list)

    @classmethod
    def of(cls, monitored: Monitored) -> Sampled:
        """Return the same recording, its monitor's source named and the monitor unused."""
        same = {f.name: getattr(monitored, f.name) for f in fields(Monitored)}
        return cls(**same, node=monitored.monitor.source.name,
                   kept={variable: [] for variable in monitored.variables})

    def raw(self) -> dict[str, Array]:
        out = {}
        for variable, samples in self.kept.items():
            shape = (len(samples), self.replicas, len(self.indices))
            out[variable] = np.array(samples).reshape(shape)
            samples.clear()
        return out

    def raw_spikes(self) -> tuple[Array, Array]:
        times = np.concatenate([np.zeros(0), *(t for t, _ in self.found)])
        index = np.concatenate([np.zeros(0, int), *(u for _, u in self.found)])
        self.found.clear()
        return times, index


class Compiled:
    """One batch, ready to be advanced by compiled kernels.

    Parameters as of `recording.Running`.

    Raises
    ------
    EngineError
        If the batch has what these kernels do not do: synapses, controllers, sources, resets.
    """

    def __init__(self, batch: Batch, labels: Sequence[str], seeds: np.random.SeedSequence):
        self.batch, protocol = batch, batch.protocols[0]
        check(batch)
        noise, draws = seeds.spawn(2)
        stimuli = Stimuli(batch.protocols, batch.scheme, batch.dt, batch.duration, noise)
        with randomness(int(draws.generate_state(1)[0])), reporting(protocol.label):
            self.built: Built = build(
                batch.scheme, replicas=len(batch.positions), dt=batch.dt, method=batch.method,
                attached=stimuli.attached, clamped=stimuli.clamped, varied=batch.varied,
                added=stimuli.parts)
            initialise(self.built)
        self.network = self.built.network()
        found = monitored(protocol, self.built)
        self.monitors = [Sampled.of(m) for m in found]
        self.cells = {name: self._cells(name) for name in batch.scheme.cells}
        self.waveforms = stimuli.waveforms(self.built)
        replicas = [f"condition {labels[k]}" for k in batch.positions]
        self.look = watch(self.built, replicas, protocol.numerics.bound)
        self.threads = protocol.numerics.threads
        self.step = 0
        log.info("kernels made from the equations (numba), on %d threads at most",
                 self.threads or threads.available())

    def _cells(self, name: str) -> Cells:
        """Return the kernel of a population, its variables moved to arrays of their own."""
        group, equations = self.built.groups[name], self.built.equations[name]
        cell = self.batch.scheme.cells[name]
        trees = {n: ast.parse(eq.expr.code, mode="eval").body
                 for n, eq in equations.items() if eq.expr is not None}
        kinds = {kind: [n for n, eq in equations.items() if eq.type == kind]
                 for kind in (DIFFERENTIAL_EQUATION, SUBEXPRESSION, PARAMETER)}
        shared = [n for n in kinds[PARAMETER] if "shared" in equations[n].flags]
        own = [n for n in kinds[PARAMETER] if n not in shared]
        recorded = [k for m in self.monitors if m.node == name for k in m.variables.values()]
        above = None
        if cell.spike is not None:
            where = f"{cell.label}: spike.when"
            above = distance(cell.expression(cell.spike.when, "spike.when"), where)
        text = Text({n: trees[n] for n in kinds[DIFFERENTIAL_EQUATION]},
                    {n: trees[n] for n in kinds[SUBEXPRESSION]}, own, shared, above,
                    list(dict.fromkeys(recorded)))
        y, mine = self._moved(name, list(text.differential)), self._moved(name, own)
        constants = np.array([float(np.ravel(group.variables[n].get_value())[0]) for n in shared])
        return Cells(text, self.batch.method, y, mine, constants, self.batch.dt, cell.label)

    def _moved(self, name: str, variables: Sequence[str]) -> Array:
        """Return variables of a group (variables, cells), which from now on lie there."""
        group = self.built.groups[name]
        array = np.empty((len(variables), len(group)))
        for row, variable in zip(array, variables, strict=True):
            row[:] = group.variables[variable].get_value()
            self.built.moved[name, variable] = row
        return array

    def weights(self, name: str) -> Array:
        """Return the weights of a projection; there are none."""
        raise KeyError(name)

    def advance(self, seconds: float, report: Callable[[float], None]) -> None:
        """Run on for some seconds of the network's time."""
        first, dt = self.step, self.batch.dt
        end = first + round(seconds / dt)
        with threads.use(self.threads):
            while self.step < end:
                for waveform in self.waveforms:
                    waveform(self.step)
                due = self._sample()
                until = int(min(end, self.step + LONGEST, due,
                                *(w.until(self.step) for w in self.waveforms), np.inf))
                for name, cells in self.cells.items():
                    self._spiked(name, *cells.advance(self.step, until - self.step))
                self.look(self.step * dt, until * dt)
                self.step = until
                report((until - first) / (end - first))
        if seconds > 0 and self.step >= round(self.batch.duration / dt):
            for name, cells in self.cells.items():
                self._spiked(name, *cells.last_crossings(self.step))

    def _sample(self) -> float:
        """Keep the samples that are due; return the step of the next."""
        later = np.inf
        seen: dict[str, Array] = {}
        for monitor in self.monitors:
            if monitor.every is None:
                continue
            each = round(monitor.interval / self.batch.dt)
            if self.step % each == 0:
                cells = self.cells[monitor.node]
                if monitor.node not in seen:
                    seen[monitor.node] = cells.seen(self.step)
                for variable, own in monitor.variables.items():
                    row = seen[monitor.node][list(cells.text.seen).index(own)]
                    chosen = row.reshape(monitor.replicas, monitor.n)[:, monitor.indices]
                    monitor.kept[variable].append(chosen.copy())
            later = min(later, (self.step // each + 1) * each)
        return later

    def _spiked(self, name: str, times: Array, units: Array) -> None:
        for monitor in self.monitors:
            if monitor.every is None and monitor.node == name and len(times):
                monitor.found.append((times, units))


def check(batch: Batch) -> None:
    """Refuse what these kernels do not do, by name."""
    protocol, scheme = batch.protocols[0], batch.scheme
    where = f"{protocol.label}: numerics.target"
    if scheme.links or scheme.controllers or scheme.sources:
        kinds = {"projection": scheme.links, "controller": scheme.controllers,
                 "source": scheme.sources}
        kind = next(k for k, found in kinds.items() if found)
        name = scheme.links[0].name if kind == "projection" else next(iter(kinds[kind]))
        raise EngineError(where, "'numba' runs cells that nothing connects, and there is "
                          f"the {kind} '{name}'", INSTEAD)
    if batch.method not in METHODS:
        raise EngineError(f"{protocol.label}: numerics.method",
                          f"'{batch.method}' is not offered by target 'numba'",
                          f"write one of {', '.join(METHODS)}, or {INSTEAD}")
    for cell in scheme.cells.values():
        for line in cell.lines:
            if "unless refractory" in line.flags:
                raise EngineError(where, f"'numba' holds no refractory cell, as {cell.label} "
                                  f"wants for {line.name}", INSTEAD)
        if cell.spike is None:
            continue
        if cell.spike.reset:
            raise EngineError(where, f"'numba' resets nothing, and {cell.label} has spike.reset",
                              INSTEAD)
        if cell.refractory is not None and _plain(cell, cell.refractory) != _plain(
                cell, cell.spike.when):
            raise EngineError(where, f"'numba' takes no other refractory condition than that of "
                              f"the spike, as in {cell.label}", INSTEAD)


def _plain(cell, value: object) -> str:
    try:
        return grammar.write(cell.expression(str(value), "refractory"))
    except ModelError:  # a time
        return str(value)
