"""The stimuli of a protocol, for conditions side by side, written before each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import brian2 as b2
import numpy as np

from dfc_neuro.brian.build import Built
from dfc_neuro.brian.scheme import Scheme
from dfc_neuro.brian.text import dimension_of
from dfc_neuro.brian.waveforms import (
    Clamp,
    DoubleExponential,
    OrnsteinUhlenbeck,
    Patterns,
    Piecewise,
    Sine,
    Waveform,
    White,
    Window,
)
from dfc_neuro.brian.wiring import Part
from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.files.units import Dimension, Quantity, product, quantity, table, unit_text

Array = np.ndarray
ROOT_SECOND: Dimension = (0, 0, 0.5, 0, 0, 0, 0)
SHARED = 1_000_000  # key of the seed of what several stimuli have in common
CURRENTS = ("step", "pulse", "sine", "epsc", "white", "ou", "patterns")


@dataclass(frozen=True)
class Place:
    """Where a stimulus acts: a compartment, a variable of a source or controller, or spikes."""

    node: str
    compartment: str = ""
    variable: str = ""


def value(stimulus, key: str, where: str, default: str | int | None = None) -> Quantity:
    """Return a key of a stimulus as a quantity."""
    found = getattr(stimulus, key)
    if found is None:
        found = default
    if found is None:
        raise ProtocolError(f"{where}.{key}", "is missing",
                            f"a stimulus of type '{stimulus.type}' needs it here")
    return quantity(found, f"{where}.{key}")


def place(stimulus, scheme: Scheme, where: str) -> Place:
    """Find what a stimulus names in `at`."""
    if f"{stimulus.at}_input" in scheme.sources:
        return Place(f"{stimulus.at}_input")
    if stimulus.at in scheme.sources:
        kind = scheme.sources[stimulus.at]
        return Place(stimulus.at, variable="rate" if kind == "rate" else "")
    if stimulus.at in scheme.controllers:
        return Place(stimulus.at, variable="target")
    node, dot, compartment = stimulus.at.partition(".")
    if not dot and len(scheme.cells) == 1:
        node, compartment = next(iter(scheme.cells)), stimulus.at
    known = [f"{n}.{c}" if len(scheme.cells) > 1 else c
             for n, cell in scheme.cells.items() for c in cell.compartments]
    known += [s.removesuffix("_input") for s in scheme.sources] + list(scheme.controllers)
    if node not in scheme.cells or compartment not in scheme.cells[node].compartments:
        raise ProtocolError(f"{where}.at", f"there is nothing called '{stimulus.at}'",
                            near(stimulus.at, known))
    return Place(node, compartment)


def spike_times(stimulus, where: str) -> Array:
    """Return the times of a stimulus of spikes, in seconds."""
    if stimulus.times is not None:
        return np.sort([quantity(t, f"{where}.times").value for t in stimulus.times])
    train = stimulus.train
    first = quantity(train.start, f"{where}.train.start").value
    within = np.zeros(train.n)
    if train.n > 1:
        if train.rate is None:
            raise ProtocolError(f"{where}.train.rate", "is missing", "write for instance \"20 Hz\"")
        within = np.arange(train.n) / quantity(train.rate, f"{where}.train.rate").value
    again = np.zeros(train.repeat)
    if train.repeat > 1:
        if train.every is None:
            raise ProtocolError(f"{where}.train.every", "is missing", "write for instance \"10 s\"")
        again = np.arange(train.repeat) * quantity(train.every, f"{where}.train.every").value
    return np.sort((first + again[:, None] + within).ravel())


def onsets(protocol, name: str) -> Array:
    """Return when a stimulus sets in, in seconds, as often as it does."""
    stimulus, where = protocol.stimuli[name], f"{protocol.label}: stimuli.{name}"
    if stimulus.type == "spikes":
        return spike_times(stimulus, where)
    if stimulus.locked_to is not None:
        if stimulus.locked_to not in protocol.stimuli:
            raise ProtocolError(f"{where}.locked_to", f"unknown stimulus '{stimulus.locked_to}'",
                                near(stimulus.locked_to, protocol.stimuli))
        if protocol.stimuli[stimulus.locked_to].locked_to is not None:
            raise ProtocolError(f"{where}.locked_to", f"'{stimulus.locked_to}' is locked itself",
                                "lock to a stimulus with times of its own")
        times = onsets(protocol, stimulus.locked_to) + value(stimulus, "after", where, "0 ms").value
        if stimulus.burst is not None:
            times = (times[:, None] + _burst(stimulus.burst, where)).ravel()
        if len(times) and times[0] < 0:
            raise ProtocolError(f"{where}.after", f"the first one would be at {times[0]:g} s",
                                f"let '{stimulus.locked_to}' start later")
        return times
    key = "start" if stimulus.type in ("pulse", "epsc") else "from_"
    first = np.array([value(stimulus, key, where, "0 ms").value])
    if stimulus.repeat is not None and stimulus.repeat > 1:
        first = first + np.arange(stimulus.repeat) * value(stimulus, "every", where).value
    return first


def _burst(burst, where: str) -> Array:
    """Return the times of a burst, from its first or last onset."""
    k = np.arange(burst.n) - (burst.n - 1 if burst.aligned == "last" else 0)
    return k / quantity(burst.rate, f"{where}.burst.rate").value


def windows(protocol, name: str, height: float) -> list[Window]:
    """Return the windows of a stimulus that has a constant value in each."""
    stimulus, where = protocol.stimuli[name], f"{protocol.label}: stimuli.{name}"
    times = onsets(protocol, name)
    if stimulus.locked_to is not None or stimulus.type == "pulse":
        width = value(stimulus, "width", where).value
        return [(t, t + width, height) for t in times]
    end = np.inf if stimulus.to is None else value(stimulus, "to", where).value
    return [(t, end, height) for t in times]


def last_event(protocol) -> float:
    """Return when the last stimulus sets in or ends, in seconds."""
    last = 0.0
    for name, stimulus in protocol.stimuli.items():
        ends = list(onsets(protocol, name))
        if stimulus.type in ("step", "pulse"):
            ends += [stop for _, stop, _ in windows(protocol, name, 0.0) if np.isfinite(stop)]
        last = max([last, *ends])
    return last


class Stimuli:
    """The stimuli of conditions side by side.

    Parameters
    ----------
    protocols : sequence of RecordingProtocol
        One a replica; they have the same stimuli, of other values.
    scheme : Scheme
    dt, duration : float
        Seconds.
    seeds : numpy.random.SeedSequence
        For noise and random spikes.

    Attributes
    ----------
    attached, clamped, trains, parts
        What `build` takes.
    """

    def __init__(self, protocols: Sequence, scheme: Scheme, dt: float, duration: float,
                 seeds: np.random.SeedSequence):
        first = protocols[0]
        self.protocols, self.scheme, self.dt, self.duration = protocols, scheme, dt, duration
        self.places = {name: place(s, scheme, f"{first.label}: stimuli.{name}")
                       for name, s in first.stimuli.items()}
        self.shared = np.random.SeedSequence(seeds.entropy, spawn_key=(*seeds.spawn_key, SHARED))
        self.rngs = dict(zip(first.stimuli, map(np.random.default_rng, seeds.spawn(
            len(first.stimuli))), strict=True))
        self.attached: dict[tuple[str, str], list[str]] = {}
        self.parts: dict[str, list[Part]] = {}
        clamped: dict[tuple[str, str], None] = {}
        spikes: dict[str, list[tuple[Array, Array]]] = {}
        for name, stimulus in first.stimuli.items():
            at, where = self.places[name], f"{first.label}: stimuli.{name}"
            if stimulus.type in ("spikes", "poisson"):
                if at.compartment or at.variable:
                    raise ProtocolError(f"{where}.at", f"'{stimulus.at}' takes no spikes",
                                        "name a plastic synapse or a source of spikes")
                spikes.setdefault(at.node, []).append(self._train(name, at, duration))
            elif not at.compartment and not at.variable:
                raise ProtocolError(f"{where}.at", f"'{stimulus.at}' takes spikes only",
                                    "use type = \"spikes\" or \"poisson\"")
            elif stimulus.type == "clamp":
                if not at.compartment:
                    raise ProtocolError(f"{where}.at", f"'{stimulus.at}' has no voltage",
                                        "clamp a compartment")
                clamped[at.node, at.compartment] = None
            elif at.compartment:
                symbol = f"{name}_electrode"
                if stimulus.reversal is not None:
                    symbol = self._conductance(name, at)
                self.attached.setdefault((at.node, at.compartment), []).append(symbol)
        self.clamped = list(clamped)
        self.trains = {node: self._merged(parts) for node, parts in spikes.items()}

    def _conductance(self, name: str, at: Place) -> str:
        """Add the line of a conductance g and its reversal E: g (E - V); return its symbol."""
        cell = self.scheme.cells[at.node]
        voltage = cell.compartments[at.compartment].voltage
        current, volt = cell.inputs[at.compartment], cell.offers[voltage]
        reversals = self._values(name, "reversal", volt)
        if np.any(reversals != reversals[0]):
            raise ProtocolError(f"{self.protocols[0].label}: stimuli.{name}.reversal",
                                "differs between conditions that run side by side",
                                "use two stimuli")
        E = Quantity(float(reversals[0]), volt, "")
        self.parts.setdefault(at.node, []).append(Part(
            [f"{name}_electrode : {unit_text(product(current, volt, -1))}",
             f"{name}_current = {name}_electrode*({name}_reversal - {voltage}) : "
             f"{unit_text(current)}"], {f"{name}_reversal": E}))
        return f"{name}_current"

    def _merged(self, parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        """Merge trains into one; two spikes of a unit in one step are one spike."""
        indices = np.concatenate([p[0] for p in parts])
        steps = np.rint(np.concatenate([p[1] for p in parts]) / self.dt).astype(np.int64)
        both = np.unique(np.stack([steps, indices], axis=1), axis=0)
        return both[:, 1], both[:, 0] * self.dt

    def _train(self, name: str, at: Place, duration: float) -> tuple[Array, Array]:
        n, indices, times = self.scheme.sizes[at.node], [], []
        for r, protocol in enumerate(self.protocols):
            stimulus, where = protocol.stimuli[name], f"{protocol.label}: stimuli.{name}"
            if stimulus.type == "spikes":
                own = spike_times(stimulus, where)
                units = np.repeat(np.arange(n), len(own))
                own = np.tile(own, n)
            else:
                start = value(stimulus, "from_", where, "0 ms").value
                stop = min(duration, value(stimulus, "to", where, f"{duration!r} second").value)
                rate = value(stimulus, "rate", where).value
                count = self.rngs[name].poisson(max(0.0, rate * (stop - start)), n)
                units = np.repeat(np.arange(n), count)
                own = self.rngs[name].uniform(start, stop, count.sum())
                again = onsets(protocol, name) - start  # the same spikes each time
                units, own = np.tile(units, len(again)), (again[:, None] + own).ravel()
            keep = own < duration
            indices.append(r * n + units[keep])
            times.append(own[keep])
        return np.concatenate(indices), np.concatenate(times)

    def waveforms(self, built: Built) -> list[Waveform]:
        """Return what writes the stimuli, to be called at the start of each step."""
        clamps = [self._clamp(node, compartment, built) for node, compartment in self.clamped]
        for clamp in clamps:
            clamp(0)  # the filters of rules may start from the voltage
        return [*clamps, *(self._waveform(name, built)
                           for name, s in self.protocols[0].stimuli.items()
                           if s.type in CURRENTS)]

    def operation(self, built: Built) -> b2.NetworkOperation:
        """Return the operation that writes every stimulus at the start of each step."""
        waveforms = self.waveforms(built)
        step = count()

        def write() -> None:
            now = next(step)
            for waveform in waveforms:
                waveform(now)

        return b2.NetworkOperation(write, clock=built.clock, when="start", name="stimuli")

    def _values(self, name: str, key: str, wanted: Dimension, default=None) -> Array:
        """Return a key over the conditions, in SI units, its dimension checked."""
        found = []
        for protocol in self.protocols:
            where = f"{protocol.label}: stimuli.{name}"
            q = value(protocol.stimuli[name], key, where, default)
            if q.dimensions != wanted:
                raise ProtocolError(f"{where}.{key}", f"found '{q.text}' in "
                                    f"{unit_text(q.dimensions)}",
                                    f"{protocol.stimuli[name].at} takes {unit_text(wanted)}")
            found.append(q.value)
        return np.array(found)

    def _waveform(self, name: str, built: Built) -> Waveform:
        at, n = self.places[name], self.scheme.sizes[self.places[name].node]
        kind = self.protocols[0].stimuli[name].type
        variable = at.variable or f"{name}_electrode"
        array = built.array(at.node, variable)
        unit = dimension_of(built.groups[at.node].variables[variable])
        if kind in ("step", "pulse"):
            heights = self._values(name, "amplitude", unit)
            own = [windows(p, name, float(h)) for p, h in zip(self.protocols, heights, strict=True)]
            return Piecewise(array, [w for w in own for _ in range(n)], self.dt)
        if kind == "epsc":
            return self._epsc(name, array, unit, n)
        if kind == "sine":
            return self._sine(name, array, unit, n)
        if kind == "patterns":
            return self._patterns(name, array, unit, n)
        return self._noise(name, array, unit, n)

    def _noise(self, name: str, array: Array, unit: Dimension, n: int) -> White:
        mean = self._values(name, "mean", unit, _zero(unit))
        span = np.array([windows(p, name, 0.0)[0][:2] for p in self.protocols])
        if self.protocols[0].stimuli[name].type == "white":
            sigma = self._values(name, "sigma", product(unit, ROOT_SECOND)) / np.sqrt(self.dt)
            mean, sigma, first, last = (np.repeat(a, n) for a in (mean, sigma, *span.T))
            return White(array, mean, sigma, first, last, self.rngs[name], self.dt)
        tau = self._values(name, "tau", table()["second"][1])
        if not np.all(tau > 0):
            raise ProtocolError(f"{self.protocols[0].label}: stimuli.{name}.tau",
                                "is not positive", "write for instance \"2 ms\"")
        sigma = self._values(name, "sigma", unit)
        mean, sigma, first, last, tau = (np.repeat(a, n) for a in (mean, sigma, *span.T, tau))
        return OrnsteinUhlenbeck(array, mean, sigma, first, last, self.rngs[name], self.dt, tau)

    def _epsc(self, name: str, array: Array, unit: Dimension, n: int) -> DoubleExponential:
        second = table()["second"][1]
        peak = self._values(name, "amplitude", unit)
        rise = self._values(name, "tau_rise", second)
        decay = self._values(name, "tau_decay", second)
        if not np.all((rise > 0) & (rise < decay)):
            raise ProtocolError(f"{self.protocols[0].label}: stimuli.{name}.tau_rise",
                                "the rise is not faster than the decay",
                                "write 0 < tau_rise < tau_decay")
        starts = [onsets(p, name) for p in self.protocols for _ in range(n)]
        peak, rise, decay = (np.repeat(a, n) for a in (peak, rise, decay))
        return DoubleExponential(array, starts, peak, rise, decay, self.dt)

    def _patterns(self, name: str, array: Array, unit: Dimension, n: int) -> Patterns:
        second = table()["second"][1]
        values = []
        for protocol in self.protocols:
            where = f"{protocol.label}: stimuli.{name}.values"
            read = [[quantity(v, where) for v in row] for row in protocol.stimuli[name].values]
            if not read or any(len(row) != n for row in read):
                raise ProtocolError(where, f"found lists of {sorted({len(r) for r in read})}",
                                    f"give lists of {n}, one value for each unit")
            if any(q.dimensions != unit for row in read for q in row):
                raise ProtocolError(where, "has another unit",
                                    f"{protocol.stimuli[name].at} takes {unit_text(unit)}")
            values.append([[q.value for q in row] for row in read])
        if len({len(v) for v in values}) > 1:
            raise ProtocolError(where, "conditions that run side by side have other numbers of "
                                "patterns", "give all the same number")
        width = self._values(name, "width", second)
        if not np.all(width >= self.dt):
            raise ProtocolError(f"{self.protocols[0].label}: stimuli.{name}.width",
                                "is shorter than dt")
        span = np.array([windows(p, name, 0.0)[0][:2] for p in self.protocols])
        count, shown = len(values[0]), int(self.duration / width.min()) + 2
        rng = np.random.default_rng(self.shared) if (
            self.protocols[0].stimuli[name].order == "random") else None
        rounds = [np.arange(count) if rng is None else rng.permutation(count)
                  for _ in range(shown // count + 1)]
        return Patterns(array, np.array(values), np.concatenate(rounds), width, span[:, 0],
                        span[:, 1], self.dt)

    def _sine(self, name: str, array: Array, unit: Dimension, n: int) -> Sine:
        hertz = table()["hertz"][1]
        height = self._values(name, "amplitude", unit)
        mean = self._values(name, "mean", unit, _zero(unit))
        frequency = self._values(name, "frequency", hertz)
        span = np.array([windows(p, name, 0.0)[0][:2] for p in self.protocols])
        mean, height, frequency, first, last = (
            np.repeat(a, n) for a in (mean, height, frequency, *span.T))
        return Sine(array, mean, height, frequency, first, last, self.dt)

    def _clamp(self, node: str, compartment: str, built: Built) -> Clamp:
        names = [name for name, at in self.places.items()
                 if self.protocols[0].stimuli[name].type == "clamp"
                 and (at.node, at.compartment) == (node, compartment)]
        voltage = self.scheme.cells[node].compartments[compartment].voltage
        unit = dimension_of(built.groups[node].variables[voltage])
        held = {name: self._values(name, "voltage", unit) for name in names}
        own = [[w for name in names for w in windows(p, name, float(held[name][r]))]
               for r, p in enumerate(self.protocols)]
        n = self.scheme.sizes[node]
        return Clamp(built.array(node, voltage), built.array(node, f"free_{voltage}"),
                     [w for w in own for _ in range(n)], self.dt)


def _zero(unit: Dimension) -> str | int:
    return 0 if unit_text(unit) == "1" else f"0 {unit_text(unit)}"


def describe(stimuli: Mapping) -> dict[str, tuple[str, str]]:
    """Return what two conditions must share to run side by side: type and place of each."""
    return {name: (s.type, s.at) for name, s in stimuli.items()}
