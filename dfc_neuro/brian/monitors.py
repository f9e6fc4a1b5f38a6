"""What a protocol records: monitors, emptied between two stretches of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import brian2 as b2
import numpy as np

from dfc_neuro.brian import device
from dfc_neuro.brian.build import RECORDS, Built
from dfc_neuro.brian.text import dimension_of
from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.files.protocols import Record, RecordingProtocol, Reduce
from dfc_neuro.files.units import quantity, unit_text

Array = np.ndarray


REDUCTIONS = {"mean": np.add, "sum": np.add, "min": np.minimum, "max": np.maximum}
SPIKE_BYTES, SPIKE_RATE = 12.0, 100.0  # of a spike in memory; spikes a second, for safety


@dataclass
class Monitored:
    """A monitor and how its numbers are laid out.

    ``every`` is the interval between what is stored, in seconds, None for spikes, ``interval``
    that between samples: shorter where windows of time are reduced.  ``axis`` names the last axis,
    "unit" or "synapse", and ``indices`` are the units that are recorded, of `n` in a replica;
    ``variables`` are names in the file and those of the group.
    """

    name: str
    monitor: b2.StateMonitor | b2.SpikeMonitor
    every: float | None
    replicas: int
    n: int
    indices: Array
    axis: str = "unit"
    variables: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    reduce: Reduce | None = None
    interval: float = np.inf

    @property
    def bytes_a_second(self) -> float:
        """Memory that a second of the run fills."""
        recorded = self.replicas * len(self.indices)
        if self.every is None:
            return SPIKE_BYTES * SPIKE_RATE * recorded
        return 8.0 * len(self.variables) * recorded / self.interval

    @property
    def stored_a_second(self) -> float:
        """Bytes that a second of the run adds to the file; spikes, unknown before, left out."""
        if self.every is None:
            return 0.0
        last = 1 if self.reduce and self.reduce.units else len(self.indices)
        return 8.0 * len(self.variables) * self.replicas * last / self.every

    def samples(self) -> dict[str, Array]:
        """Return {variable: (time, replica, unit)}, reduced, and empty the monitor."""
        out = self.raw()
        if self.reduce is None or self.every is None:
            return out
        if self.reduce.time:
            window = round(self.every / self.interval)
            out = {k: reduced(v, self.reduce.time, window) for k, v in out.items()}
        if self.reduce.units:
            out = {k: getattr(np, self.reduce.units)(v, axis=2) for k, v in out.items()}
        return out

    def spikes(self, conditions: Array) -> tuple[Array, Array, Array]:
        """Return times, units and conditions of the spikes, and empty the monitor."""
        times, index = self.raw_spikes()
        unit = index % self.n
        keep = np.isin(unit, self.indices)
        return times[keep], unit[keep], conditions[index[keep] // self.n]

    def raw(self) -> dict[str, Array]:
        """Return {variable: (sample, replica, unit)} and empty the monitor."""
        out = {}
        for variable, own in self.variables.items():
            values = np.array(self.monitor.variables[own].get_value())
            out[variable] = values.reshape(len(values), self.replicas, len(self.indices))
        self.monitor.resize(0)
        return out

    def raw_spikes(self) -> tuple[Array, Array]:
        """Return times and indices over all replicas, and empty the monitor."""
        index = np.array(self.monitor.variables["i"].get_value())
        times = np.array(self.monitor.variables["t"].get_value())
        self.monitor.resize(0)
        self.monitor.variables["N"].set_value(0)  # which resize leaves as it was
        return times, index


def reduced(values: Array, how: str, window: int) -> Array:
    """Return the mean, sum, least or largest of each window of rows; the last may be short."""
    first = np.arange(0, len(values), window)
    if not len(first):
        return values
    out = REDUCTIONS[how].reduceat(values, first, axis=0)
    if how == "mean":
        length = np.diff([*first, len(values)])
        out /= length.reshape(-1, *(1,) * (values.ndim - 1))
    return out


def monitored(protocol: RecordingProtocol, built: Built) -> list[Monitored]:
    """Return the monitors of a protocol's [record]."""
    return [_one(name, r, f"{protocol.label}: record.{name}", built)
            for name, r in protocol.record.items()]


def _one(name: str, record: Record, where: str, built: Built) -> Monitored:
    found = _recorded(record, where, built)
    group, n = found.group, found.n
    chosen = np.arange(n) if record.units is None else np.array(record.units)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= n):
        raise ProtocolError(f"{where}.units", f"found {list(chosen)}", f"there are {n}")
    if "spikes" in record.what:
        if len(record.what) > 1:
            raise ProtocolError(f"{where}.what", "spikes are recorded by themselves",
                                "make a table of their own for the other variables")
        if not isinstance(group, b2.SpikeGeneratorGroup) and "spike" not in group.events:
            raise ProtocolError(f"{where}.what", "there are no spikes here",
                                "name a cell with [spike]")
        return Monitored(name, b2.SpikeMonitor(group, name=f"record_{name}"), None,
                         built.replicas, n, chosen)
    dt = float(built.clock.dt)
    every = _interval(record, where, dt)
    interval = dt if record.reduce is not None and record.reduce.time else every
    index = (np.arange(built.replicas)[:, None] * n + chosen).ravel()
    monitor = b2.StateMonitor(group, list(found.names.values()), record=index,
                              clock=device.clock(interval, f"record_{name}"), when="groups",
                              order=RECORDS,
                              name=f"record_{name}")
    units = {v: unit_text(dimension_of(group.variables[own])) for v, own in found.names.items()}
    return Monitored(name, monitor, every, built.replicas, n, chosen, found.axis, found.names,
                     units, record.reduce, interval)


def _interval(record: Record, where: str, dt: float) -> float:
    """Return the sampling interval in seconds, a multiple of dt."""
    if record.every is None:
        return dt
    every = quantity(record.every, f"{where}.every")
    if not any(every.dimensions):
        raise ProtocolError(f"{where}.every", f"found {record.every}", "write a time, \"1 ms\"")
    ratio = every.value / dt
    if ratio < 0.999 or abs(ratio - round(ratio)) > 1e-6 * ratio:
        raise ProtocolError(f"{where}.every", f"{every.text} is no multiple of dt = {dt:g} s",
                            "choose a multiple")
    return every.value


@dataclass(frozen=True)
class _Recorded:
    """A group, its size in a replica, what its last axis counts, {name: variable of the group}."""

    group: b2.Group
    n: int
    axis: str
    names: dict[str, str]


def _recorded(record: Record, where: str, built: Built) -> _Recorded:
    """Find the group that holds what is recorded."""
    node = record.of
    if node is None:
        if len(built.scheme.cells) != 1:
            raise ProtocolError(f"{where}.of", "is missing, and there are several populations",
                                near("", built.scheme.cells))
        node = next(iter(built.scheme.cells))
    sizes = built.scheme.sizes
    if node in built.groups:
        places: list[tuple[str | None, int, str, str]] = [(node, sizes[node], "unit", "{}")]
    elif node in built.synapses:
        link = next(k for k in built.scheme.links if k.name == node)
        n = len(built.synapses[node]) // built.replicas
        places = [(None, n, "synapse", name) for name in ("{}", "pre_{}", "post_{}")]
        places += [(end, sizes[end], "unit", "{}_" + node) for end in (link.target, link.source)]
    else:
        raise ProtocolError(f"{where}.of", f"there is nothing called '{node}'",
                            near(node, [*built.groups, *built.synapses]))
    if "spikes" in record.what:
        return _Recorded(built.groups[node], sizes[node], "unit", {})
    found: dict[str, tuple] = {}
    for variable in record.what:
        for end, n, axis, pattern in places:
            group = built.synapses[node] if end is None else built.groups[end]
            if pattern.format(variable) in group.variables and not variable.startswith("_"):
                found[variable] = (group, n, axis, pattern.format(variable))
                break
        else:
            known = [k for k in group.variables if not k.startswith("_")]
            raise ProtocolError(f"{where}.what", f"'{node}' has no '{variable}'",
                                near(variable, known))
    (group, n, axis, _), *others = found.values()
    if any(other[0] is not group for other in others):
        raise ProtocolError(f"{where}.what", "these variables live in different places",
                            "make a table of its own for each")
    return _Recorded(group, n, axis, {v: place[3] for v, place in found.items()})
