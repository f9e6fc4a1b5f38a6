"""What a protocol records: monitors, emptied between two stretches of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import brian2 as b2
import numpy as np

from dfc_neuro.brian import device
from dfc_neuro.brian.build import RECORDS, Built
from dfc_neuro.brian.text import dimension_of
from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.files.units import quantity, unit_text

Array = np.ndarray


@dataclass
class Monitored:
    """A monitor and how its numbers are laid out.

    ``every`` is the sampling interval in seconds, None for spikes; ``axis`` names the last axis,
    "unit" or "synapse", and ``indices`` are the units that are recorded, of `n` in a replica.
    """

    name: str
    monitor: b2.StateMonitor | b2.SpikeMonitor
    every: float | None
    replicas: int
    n: int
    indices: Array
    axis: str = "unit"
    variables: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)

    @property
    def bytes_a_second(self) -> float:
        """Memory that a second of the run fills."""
        if self.every is None:
            return 0.0
        return 8.0 * len(self.variables) * self.replicas * len(self.indices) / self.every

    def samples(self) -> dict[str, Array]:
        """Return {variable: (time, replica, unit)} and empty the monitor."""
        out = {}
        for variable in self.variables:
            values = np.array(self.monitor.variables[variable].get_value())
            out[variable] = values.reshape(len(values), self.replicas, len(self.indices))
        self.monitor.resize(0)
        return out

    def spikes(self, conditions: Array) -> tuple[Array, Array, Array]:
        """Return times, units and conditions of the spikes, and empty the monitor."""
        index = np.array(self.monitor.variables["i"].get_value())
        times = np.array(self.monitor.variables["t"].get_value())
        self.monitor.resize(0)
        unit = index % self.n
        keep = np.isin(unit, self.indices)
        return times[keep], unit[keep], conditions[index[keep] // self.n]


def monitored(protocol, built: Built) -> list[Monitored]:
    """Return the monitors of a protocol's [record]."""
    return [_one(name, r, f"{protocol.label}: record.{name}", built)
            for name, r in protocol.record.items()]


def _one(name: str, record, where: str, built: Built) -> Monitored:
    node, group, n, axis = _recorded(record, where, built)
    chosen = np.arange(n) if record.units is None else np.array(record.units)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= n):
        raise ProtocolError(f"{where}.units", f"found {list(chosen)}", f"'{node}' has {n}")
    if "spikes" in record.what:
        if len(record.what) > 1:
            raise ProtocolError(f"{where}.what", "spikes are recorded by themselves",
                                "make a table of their own for the other variables")
        if not isinstance(group, b2.SpikeGeneratorGroup) and "spike" not in group.events:
            raise ProtocolError(f"{where}.what", f"'{node}' does not spike",
                                "name a cell with [spike]")
        return Monitored(name, b2.SpikeMonitor(group, name=f"record_{name}"), None,
                         built.replicas, n, chosen)
    for variable in record.what:
        if variable not in group.variables or variable.startswith("_"):
            known = [k for k in group.variables if not k.startswith("_")]
            raise ProtocolError(f"{where}.what", f"'{node}' has no '{variable}'",
                                near(variable, known))
    dt = float(built.clock.dt)
    every = dt if record.every is None else quantity(record.every, f"{where}.every").value
    if record.every is not None and not any(quantity(record.every, where).dimensions):
        raise ProtocolError(f"{where}.every", f"found {record.every}", "write a time, \"1 ms\"")
    ratio = every / dt
    if ratio < 0.999 or abs(ratio - round(ratio)) > 1e-6 * ratio:
        raise ProtocolError(f"{where}.every", f"{every:g} s is no multiple of dt = {dt:g} s",
                            "choose a multiple")
    index = (np.arange(built.replicas)[:, None] * n + chosen).ravel()
    monitor = b2.StateMonitor(group, list(record.what), record=index, clock=device.clock(every),
                              when="groups", order=RECORDS, name=f"record_{name}")
    units = {v: unit_text(dimension_of(group.variables[v])) for v in record.what}
    return Monitored(name, monitor, every, built.replicas, n, chosen, axis, tuple(record.what),
                     units)


def _recorded(record, where: str, built: Built) -> tuple[str, b2.Group, int, str]:
    """Return what is recorded of: its name, group, size in a replica, and name of the axis."""
    node = record.of
    if node is None:
        if len(built.scheme.cells) != 1:
            raise ProtocolError(f"{where}.of", "is missing: there are several populations",
                                near("", built.scheme.cells))
        node = next(iter(built.scheme.cells))
    if node in built.groups:
        return node, built.groups[node], built.scheme.sizes[node], "unit"
    if node in built.synapses:
        group = built.synapses[node]
        return node, group, len(group) // built.replicas, "synapse"
    raise ProtocolError(f"{where}.of", f"there is nothing called '{node}'",
                        near(node, [*built.groups, *built.synapses]))
