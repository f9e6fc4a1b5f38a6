"""What a learning protocol records beside its metrics, at the epochs that it names."""

from __future__ import annotations

from typing import Any

from dfc_neuro.errors import ProtocolError
from dfc_neuro.files.units import quantity
from dfc_neuro.learning.measures import layer_of
from dfc_neuro.learning.traces import PRE
from dfc_neuro.learning.trainer import Trainer
from dfc_neuro.results import Writer

STATES = 250  # that are recorded of a phase where nothing is said


class Recorder:
    """The recordings that a protocol asks for.

    Raises
    ------
    ProtocolError
        For what a learning protocol does not record.
    """

    def __init__(self, trainer: Trainer):
        self.trainer, plan = trainer, trainer.plan
        self.tables: dict[str, Any] = {}
        for name, table in plan.record.items():
            if name == "epochs":
                continue
            key = f"{plan.label}: record.{name}"
            for unused in ("phase", "reduce"):
                if getattr(table, unused) is not None:
                    raise ProtocolError(f"{key}.{unused}", "is not used by learning protocols",
                                        "they record the phase in which W learns")
            layer = layer_of(plan, table.of or "hidden", f"{key}.of")
            kinds = trainer.recordable(layer)
            kind_of = {what: kind for kind, names in kinds.items() for what in names}
            for what in table.what:
                if what not in kind_of:
                    raise ProtocolError(f"{key}.what", f"a learning protocol records no '{what}'",
                                        "known: " + ", ".join(sorted(kind_of)))
            if len({kind_of[what] for what in table.what}) > 1:
                raise ProtocolError(f"{key}.what", "mixes " + ", ".join(kinds),
                                    "give each a table of its own")
            size = plan.layered.sizes[layer + 1]
            units = list(table.units or range(min(3, size)))
            if any(not 0 <= u < size for u in units):
                raise ProtocolError(f"{key}.units", f"found {units}", f"the population has {size}")
            kind = kind_of[table.what[0]]
            if kind == "change" and table.every is not None:
                raise ProtocolError(f"{key}.every", "is set, and changes are those of a whole "
                                    "phase", "leave it out")
            every = 1 if kind == "change" else self._every(table.every, f"{key}.every")
            self.tables[name] = (table, kind, layer, units, every)

    def _every(self, every: Any, where: str) -> int:
        """Return how many time steps there are from one recorded state to the next."""
        phase = self.trainer.plan.control_phase()
        if phase is None:
            return 1
        dt, unit, steps = self.trainer.clock(phase)
        if every is None:
            return max(1, steps // STATES)
        if isinstance(every, int | float) != (unit == "tau_u"):
            raise ProtocolError(where, f"found {every!r}", "give a number, in units of tau_u"
                                if unit == "tau_u" else 'give a time, "1 ms"')
        length = float(every) if unit == "tau_u" else quantity(every, where).value
        count = round(length / dt)
        if count < 1 or abs(count * dt - length) > 1e-6 * dt:
            raise ProtocolError(where, f"found {every}", f"give a multiple of dt, which is {dt:g} "
                                f"{unit}")
        return count

    def sizes(self) -> tuple[float, float]:
        """Return the bytes that are written, and the most that are held for it at one time."""
        plan = self.trainer.plan
        phase = plan.control_phase()
        if phase is None:
            return 0.0, 0.0
        steps, layers, item = self.trainer.clock(phase)[2], plan.layered.sizes, plan.dtype.itemsize
        written = held = 0.0
        for table, kind, _, units, every in self.tables.values():
            samples, states = table.samples or 4, -(-steps // every)
            numbers = {"voltage": states * len(units), "control": states * layers[-1],
                       "change": len(units) * PRE}[kind]
            written += len(self._epochs(table)) * len(table.what) * samples * numbers * item
            at_once = 1 if kind == "change" else samples  # changes are found one by one
            # the states as they are stored, and as voltages: u, three compartments and rates
            held = max(held, 2.0 * item * at_once * states * (layers[-1] + 4 * sum(layers[1:])))
        return written, held

    def _epochs(self, table: Any) -> set[int]:
        epochs = self.trainer.plan.epochs
        return {e if e >= 0 else epochs + 1 + e for e in table.at_epochs or (0, -1)}

    def record(self, writer: Writer, epoch: int) -> None:
        """Write the recordings of one epoch."""
        plan = self.trainer.plan
        phase = plan.control_phase()
        for name, (table, kind, layer, units, every) in self.tables.items():
            if epoch not in self._epochs(table) or phase is None:
                continue
            samples = plan.dataset.test.part(slice(table.samples or 4))
            found = self.trainer.recording(phase, samples, kind, layer, units, every)
            for what in table.what:
                dims = ("epoch", *found.dims[what])
                scales = {"epoch": [epoch], **found.scales}
                scales |= {} if kind == "control" else {"unit": units}
                writer.extend(f"recordings/{name}/{what}", found.arrays[what][None], dims,
                              found.units.get(what, "1"),
                              {dim: at for dim, at in scales.items() if dim in dims})
