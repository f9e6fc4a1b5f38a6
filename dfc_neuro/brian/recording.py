"""Run a recording protocol and stream what it records to a result file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import lcm
from typing import TYPE_CHECKING, Any, TypeAlias

import brian2 as b2
import numpy as np
from tqdm.auto import tqdm

from dfc_neuro.brian import device
from dfc_neuro.brian.build import Built, build, initialise
from dfc_neuro.brian.guard import guard
from dfc_neuro.brian.monitors import Monitored, monitored
from dfc_neuro.brian.plan import Batch, batches
from dfc_neuro.brian.stimuli import Stimuli
from dfc_neuro.brian.text import reporting
from dfc_neuro.brian.topology import store
from dfc_neuro.errors import ProtocolError
from dfc_neuro.files import resolve
from dfc_neuro.files.units import unit_text
from dfc_neuro.results import announce

if TYPE_CHECKING:
    from dfc_neuro.brian.compiled import Compiled
    from dfc_neuro.brian.whole import Whole

    Runnable: TypeAlias = "Running | Compiled | Whole"

Array = np.ndarray
Report = Callable[[float], None]
CHUNK_BYTES = 32 * 2**20


class Running:
    """One batch: its network, ready to be advanced."""

    def __init__(self, batch: Batch, labels: Sequence[str], seeds: np.random.SeedSequence):
        self.batch = batch
        noise, draws = seeds.spawn(2)
        self.seed = int(draws.generate_state(1)[0])
        protocol = batch.protocols[0]
        stimuli = Stimuli(batch.protocols, batch.scheme, batch.dt, batch.duration, noise)
        with device.randomness(self.seed) as random_state, reporting(protocol.label):
            self.built: Built = build(
                batch.scheme, replicas=len(batch.positions), dt=batch.dt, method=batch.method,
                attached=stimuli.attached, clamped=stimuli.clamped, varied=batch.varied,
                trains=stimuli.trains, added=stimuli.parts)
            self.monitors: list[Monitored] = monitored(protocol, self.built)
            replicas = [f"condition {labels[k]}" for k in batch.positions]
            self.built.extra += [
                stimuli.operation(self.built),
                guard(self.built, replicas, protocol.numerics.bound),
                *(m.monitor for m in self.monitors)]
            initialise(self.built)
            self.random_state = random_state()
        self.network = self.built.network()
        steps = round(batch.duration / batch.dt)
        synapses = sum(len(s) for s in self.built.synapses.values())
        updates = 2 * len(self.built.groups) + 2 * len(self.built.synapses) + len(self.monitors)
        self.target = device.choose(protocol.numerics.target, steps, updates, synapses,
                                    self.built.work(batch.method))

    def weights(self, name: str) -> Array:
        """Return the weights of a projection (replicas, synapses)."""
        w = self.built.synapses[name].variables["w"].get_value()
        return np.reshape(w, (len(self.batch.positions), -1))

    def advance(self, seconds: float, report: Callable[[float], None]) -> None:
        """Run on for some seconds of the network's time."""
        if seconds <= 0:
            return
        with (device.code(self.target),
              device.randomness(self.seed, self.random_state) as random_state,
              reporting(self.batch.protocols[0].label)):
            self.network.run(
                seconds * b2.second, namespace={}, report_period=0.5 * b2.second,
                report=lambda elapsed, done, start, length: report(done))
            self.random_state = random_state()


def _ready(batch: Batch, labels: Sequence[str], seeds: np.random.SeedSequence) -> Runnable:
    """Return a batch ready to be advanced where the protocol says."""
    target = batch.protocols[0].numerics.target
    if target == "numba":
        from dfc_neuro.brian.compiled import Compiled

        return Compiled(batch, labels, seeds)
    if target == "cpp_standalone":
        from dfc_neuro.brian.whole import Whole

        return Whole(batch, labels, seeds)
    return Running(batch, labels, seeds)


def record(protocol, writer, seed: int, progress: bool | Report = True
           ) -> dict[str, float]:
    """Run a recording protocol with Brian2.

    Conditions that differ in stimuli, weights and cell parameters run side by side as replicas of
    one network, others in networks of their own that advance by turns.

    Parameters
    ----------
    protocol : RecordingProtocol
        Resolved.
    writer : results.Writer
        Receives ``recordings/NAME/VARIABLE`` (time, condition, unit); ``spikes/NAME/time``,
        ``unit`` and ``condition`` (spike); of projections and synapses with a rule,
        ``recordings/NAME/w`` (time, condition, synapse) at the start and the end, and
        ``weights/NAME`` (condition, synapse) at the end; ``derived/NAME`` (condition).
    seed : int
        All random numbers follow from it.
    progress : bool or callable
        Whether to show a progress bar; or what to call with the fraction done.

    Returns
    -------
    dict of str to float
        Derived parameters that are the same in all conditions.

    Raises
    ------
    ProtocolError, ModelError, EngineError
        When the protocol and the model do not fit together.
    NumericalError
        When a state is not finite or a voltage runs away; names cell, compartment and time.
    """
    pairs = resolve.conditions(protocol)
    labels = [label for label, _ in pairs]
    seeds = np.random.SeedSequence(seed)
    structure, *own = seeds.spawn(1 + len(pairs))
    running = [_ready(batch, labels, own[k])
               for k, batch in enumerate(batches([p for _, p in pairs], structure))]
    length = max(r.batch.duration for r in running)
    recorded = length * sum(m.stored_a_second for r in running for m in r.monitors)
    held = sum(length * m.bytes_a_second for r in running for m in r.monitors
               if r.batch.protocols[0].numerics.target == "cpp_standalone")
    announce(writer.path, recorded, protocol.label, 3 * held)
    reported = _derived(running, labels, writer)
    store([(r.batch.positions, r.batch.scheme) for r in running], labels, writer)
    first = _weights(running, len(labels))
    chunk = _chunk(running, protocol)
    edges = [*np.arange(0.0, length * (1 - 1e-12), chunk).tolist(), length]
    with _shown(progress) as report:
        for done, stop in pairwise(edges):
            for k, one in enumerate(running):
                part = partial(_part, report, done / length, (stop - done) / length,
                               k / len(running), 1 / len(running))
                one.advance(min(stop, one.batch.duration) - done, part)
            _store(running, labels, writer, done)
        report(1.0)
    last = _weights(running, len(labels))
    for name, w in last.items():
        scale = {"condition": labels}
        writer.put(f"weights/{name}", w, ("condition", "synapse"), "1", scale)
        if name not in protocol.record:
            writer.put(f"recordings/{name}/w", np.stack([first[name], w]),
                       ("time", "condition", "synapse"), "1",
                       {"time": (np.array([0.0, length]), "second"), **scale})
    return reported


@contextmanager
def _shown(progress: bool | Report) -> Iterator[Report]:
    """Return what is told the fraction done: a function of the caller's, or a bar."""
    if callable(progress):
        yield progress
        return
    with tqdm(total=100, disable=not progress,
              bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as bar:
        yield lambda done: bar.update(int(100 * done) - bar.n)


def _part(report: Report, start: float, share: float, before: float, own: float,
          done: float) -> None:
    """Tell how much of the whole is done, when `done` of one batch's stretch is."""
    report(start + share * (before + own * done))


def _chunk(running: Sequence[Runnable], protocol) -> float:
    """Return how much time to run between two visits to the file: whole sampling intervals."""
    everies = [Fraction(round(step * 1e15), 10**15) for r in running
               for step in (r.batch.dt, *(m.every for m in r.monitors if m.every))]
    for name in protocol.record:
        found = {round(m.every * 1e15) for r in running for m in r.monitors
                 if m.name == name and m.every}
        if len(found) > 1:
            raise ProtocolError(f"{protocol.label}: record.{name}.every",
                                "conditions with different dt cannot be recorded together",
                                "write every = a multiple of each dt")
    if not any(r.monitors for r in running):
        return max(r.batch.duration for r in running)
    if any(r.batch.protocols[0].numerics.target == "cpp_standalone" for r in running):
        return max(r.batch.duration for r in running)  # nothing is there before the end
    rate = sum(m.bytes_a_second for r in running for m in r.monitors)
    denominator = lcm(*(f.denominator for f in everies))
    unit = float(Fraction(lcm(*(int(f * denominator) for f in everies)), denominator))
    return unit * max(1, int(CHUNK_BYTES / rate / unit))


def _store(running: Sequence[Runnable], labels: Sequence[str], writer,
           start: float) -> None:
    """Append what the monitors hold, conditions in their order; ended ones are NaN."""
    for index, first in enumerate(running[0].monitors):
        same = [r.monitors[index] for r in running]
        if first.every is None:
            time, unit, condition = (np.concatenate(part) for part in zip(
                *(m.spikes(np.array(r.batch.positions)) for m, r in zip(
                    same, running, strict=True)), strict=True))
            order = np.lexsort((unit, condition, time))
            name = f"spikes/{first.name}"
            where = np.array(labels)[condition[order]]
            writer.extend(f"{name}/time", time[order], ("spike",), "second")
            writer.extend(f"{name}/unit", unit[order], ("spike",))
            writer.extend(f"{name}/condition", where, ("spike",))
            continue
        parts = [m.samples() for m in same]
        longest = max(len(next(iter(p.values()))) for p in parts)
        times = start + np.arange(longest) * first.every
        for variable in first.variables:
            shape = parts[0][variable].shape
            whole = np.full((longest, len(labels), *shape[2:]), np.nan)
            for part, one in zip(parts, running, strict=True):
                whole[: len(part[variable]), list(one.batch.positions)] = part[variable]
            scales: dict[str, Any] = {"time": (times, "second"), "condition": list(labels)}
            if len(shape) == 3:
                scales[first.axis] = first.indices
            writer.extend(f"recordings/{first.name}/{variable}", whole, tuple(scales),
                          first.units[variable], scales)


def _weights(running: Sequence[Runnable], conditions: int) -> dict[str, Array]:
    """Return the weights (condition, synapse) of the links that learn."""
    out = {}
    for link in running[0].batch.scheme.links:
        if link.rule is not None:
            whole = np.empty((conditions, len(link.pre)))
            for one in running:
                whole[list(one.batch.positions)] = one.weights(link.name)
            out[link.name] = whole
    return out


def _derived(running: Sequence[Runnable], labels: Sequence[str], writer
             ) -> dict[str, float]:
    """Put the derived parameters of the cells; return those that all conditions share."""
    reported = {}
    cells = running[0].batch.scheme.cells
    for name, cell in cells.items():
        for key in cell.derived:
            values = np.empty(len(labels))
            for one in running:
                own = one.batch.scheme.cells[name].constants[key].value
                values[list(one.batch.positions)] = one.batch.varied[name].get(key, own)
            label = key if len(cells) == 1 else f"{name}_{key}"
            writer.put(f"derived/{label}", values, ("condition",),
                       unit_text(cell.constants[key].dimensions), {"condition": list(labels)})
            if np.all(values == values[0]):
                reported[label] = float(values[0])
    return reported
