"""What a learning protocol records beside its metrics, at the epochs that it names."""

from __future__ import annotations

from typing import Any

from dfc_neuro.errors import ProtocolError
from dfc_neuro.learning.measures import layer_of
from dfc_neuro.learning.trainer import Trainer
from dfc_neuro.results import Writer


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
            for unused in ("every", "phase"):
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
            self.tables[name] = (table, kind_of[table.what[0]], layer, units)

    def record(self, writer: Writer, epoch: int) -> None:
        """Write the recordings of one epoch."""
        plan = self.trainer.plan
        phase = plan.control_phase()
        for name, (table, kind, layer, units) in self.tables.items():
            epochs = {e if e >= 0 else plan.epochs + 1 + e for e in table.at_epochs or (0, -1)}
            if epoch not in epochs or phase is None:
                continue
            samples = plan.dataset.test.part(slice(table.samples or 4))
            found = self.trainer.recording(phase, samples, kind, layer, units)
            for what in table.what:
                dims = ("epoch", *found.dims[what])
                scales = {"epoch": [epoch], **found.scales}
                scales |= {} if kind == "control" else {"unit": units}
                writer.extend(f"recordings/{name}/{what}", found.arrays[what][None], dims,
                              found.units.get(what, "1"),
                              {dim: at for dim, at in scales.items() if dim in dims})
