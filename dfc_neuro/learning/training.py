"""One training run, from plan to result file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from dfc_neuro.datasets._dataset import Split
from dfc_neuro.errors import ProtocolError
from dfc_neuro.learning import measures
from dfc_neuro.learning.plan import Plan
from dfc_neuro.learning.rule_notes import announce
from dfc_neuro.learning.trainer import Tally, Trainer
from dfc_neuro.rates import threads
from dfc_neuro.rates.averaged import TOLERANCE
from dfc_neuro.results import Writer

log = logging.getLogger(__name__)
CHECKPOINT_EVERY = 2.0  # seconds of work that a kill may cost
VOLTAGES = ("v_basal", "v_apical", "v_soma")
CONTROL = ("u", "r_output", "target")
CHANGES = ("mismatch", "weight_change", "rate_pre")


def train(plan: Plan, writer: Writer, progress: bool | Callable[[int, int], object] = True
          ) -> dict[str, float]:
    """Run a plan, or what is left of it, and write its result.

    `progress` is whether to show a bar, or is told how many passes are done, and of how many.

    Returns
    -------
    dict
        The measures: losses and errors at the end, by name.
    """
    diagnostics = measures.wanted(plan, f"{plan.label}: record.epochs.what")
    recorder = _Recorder(plan)
    trainer = Trainer(plan)
    probe = measures.probe(plan)
    announce(trainer, probe)
    if writer.state is not None:
        trainer.restore(writer.state)
    else:
        _epoch(writer, recorder, trainer, 0, diagnostics, probe)
    saved = time.monotonic()
    bar = tqdm(total=len(plan.passes), initial=trainer.done, unit="pass",
               disable=progress is not True, desc=plan.method_name)
    with bar, threads.use(plan.threads):
        for one in plan.passes[trainer.done:]:
            trainer.run(one)
            before_first = not one.epoch and all(p.epoch for p in plan.passes[trainer.done:])
            if one.ends_epoch:
                error = _epoch(writer, recorder, trainer, one.epoch, diagnostics, probe)
                bar.set_postfix_str(f"epoch {one.epoch}/{plan.epochs}, {error}")
            elif before_first:
                _before(writer, trainer, diagnostics, probe)
            bar.update()
            if callable(progress):
                progress(trainer.done, len(plan.passes))
            if time.monotonic() - saved > CHECKPOINT_EVERY:
                writer.checkpoint(trainer.save())
                saved = time.monotonic()
    for name in ("W", "b", "Q"):
        for i, part in enumerate(getattr(trainer.net, name)):
            dims = ("post",) if name == "b" else ("post", "pre")
            writer.put(f"weights/{name}{i + 1}", part, dims, "1")
    return _final(writer, trainer)


def _epoch(writer: Writer, recorder: _Recorder, trainer: Trainer, epoch: int,
           diagnostics: list[str], probe: Split) -> str:
    tally, trainer.tally = trainer.tally, Tally()
    found = measures.epoch_metrics(trainer, tally, diagnostics, probe)
    of_passes = ["train_loss", "train_error", "converged", "diverged", "not_converged"]
    for name in of_passes + (["newton", "stepped"] if trainer.plan.averaged else []):
        found.setdefault(name, float("nan"))
    if tally.stepped:
        log.warning("epoch %d: the closed form of the time average gave way to time steps in %d "
                    "minibatches, for its error would have been over %g", epoch, tally.stepped,
                    TOLERANCE)
    for name, value in found.items():
        writer.extend(f"metrics/{name}", [value], ("epoch",), _unit(name),
                      {"epoch": ([epoch], "1")})
    recorder.record(writer, trainer, epoch)
    return f"test error {shown(trainer.plan, found['test_error'])}"


def _before(writer: Writer, trainer: Trainer, diagnostics: list[str], probe: Split) -> None:
    """Write the diagnostics down as they are before the first epoch, feedback weights learned."""
    for name, value in measures.epoch_metrics(trainer, Tally(), diagnostics, probe).items():
        if name in diagnostics:  # of the whole network, not of its layers
            writer.put(f"measures/{name}_before", value, (), _unit(name))


def _final(writer: Writer, trainer: Trainer) -> dict[str, float]:
    found = measures.held_out(trainer)
    for name, value in found.items():
        writer.put(f"measures/{name}", value, (), _unit(name))
    return found


def _unit(name: str) -> str:
    return "degree" if name.startswith("angle") else "1"


def shown(plan: Plan, error: float) -> str:
    """Return an error as it is printed: per cent of wrong classes, or a mean squared error."""
    return f"{100 * error:.1f} %" if plan.loss == "cross_entropy" else f"{error:.4g}"


class _Recorder:
    """The recordings that a protocol asks for, at the epochs that it names."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.tables: dict[str, Any] = {}
        for name, table in plan.record.items():
            if name == "epochs":
                continue
            key = f"{plan.label}: record.{name}"
            for unused in ("every", "phase"):
                if getattr(table, unused) is not None:
                    raise ProtocolError(f"{key}.{unused}", "is not used by learning protocols",
                                        "they record the phase in which W learns")
            known = {*VOLTAGES, *CONTROL, *CHANGES}
            for what in table.what:
                if what not in known:
                    raise ProtocolError(f"{key}.what", f"a learning protocol records no '{what}'",
                                        "known: " + ", ".join(sorted(known)))
            if len({_kind(what) for what in table.what}) > 1:
                raise ProtocolError(f"{key}.what", "mixes compartments, control and changes",
                                    "give each a table of its own")
            layer = measures.layer_of(plan, table.of or "hidden", f"{key}.of")
            size = plan.layered.sizes[layer + 1]
            units = list(table.units or (0, 1, 2))
            if any(not 0 <= u < size for u in units):
                raise ProtocolError(f"{key}.units", f"found {units}", f"the population has {size}")
            self.tables[name] = (table, layer, units)

    def record(self, writer: Writer, trainer: Trainer, epoch: int) -> None:
        """Write the recordings of one epoch."""
        plan = self.plan
        phase = plan.control_phase()
        for name, (table, layer, units) in self.tables.items():
            epochs = {e if e >= 0 else plan.epochs + 1 + e for e in table.at_epochs or (0, -1)}
            if epoch not in epochs or phase is None:
                continue
            samples = plan.dataset.test.part(slice(table.samples or 4))
            kind = _kind(table.what[0])
            if kind == "change":
                arrays = measures.single_changes(trainer, phase, samples, layer, units, 16)
                dims = {"mismatch": ("epoch", "sample", "unit"),
                        "weight_change": ("epoch", "sample", "unit", "pre"),
                        "rate_pre": ("epoch", "sample", "pre")}
                scales: dict[str, Any] = {"epoch": [epoch]}
                wanted = {what: (arrays[what][None], dims[what],
                                 scales | ({"unit": units} if "unit" in dims[what] else {}))
                          for what in CHANGES if what in table.what}
            else:
                every = max(1, phase.control.steps // 200)
                path, target = measures.phase_trajectory(trainer, phase, samples, every)
                times = path.time_step * phase.control.dt
                scales = {"epoch": [epoch], "time": (times, "tau_u")}
                found = {"u": path.u, "r_output": path.r[-1],
                         "target": np.broadcast_to(target, path.r[-1].shape)}
                found |= {what: getattr(path, what)[layer][:, :, units] for what in VOLTAGES}
                wanted = {what: (found[what][None], ("epoch", "time", "sample", "unit"),
                                 scales | ({"unit": units} if kind == "voltage" else {}))
                          for what in table.what}
            for what, (values, names, at) in wanted.items():
                writer.extend(f"recordings/{name}/{what}", values, names, "1", at)


def _kind(what: str) -> str:
    return "voltage" if what in VOLTAGES else "change" if what in CHANGES else "control"
