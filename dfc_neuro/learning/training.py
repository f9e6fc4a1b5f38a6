"""One training run, from plan to result file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tqdm.auto import tqdm

from dfc_neuro.datasets._dataset import Split
from dfc_neuro.learning import measures
from dfc_neuro.learning.plan import Plan
from dfc_neuro.learning.recorder import Recorder
from dfc_neuro.learning.rule_notes import announce
from dfc_neuro.learning.trainer import Tally, Trainer
from dfc_neuro.rates import threads
from dfc_neuro.rates.averaged import TOLERANCE
from dfc_neuro.results import Writer
from dfc_neuro.results import announce as announce_size

log = logging.getLogger(__name__)
CHECKPOINT_EVERY = 2.0  # seconds of work that a kill may cost


def trainer_of(plan: Plan) -> Trainer:
    """Return what trains by a plan: kernels, or cells that Brian2 runs from their text."""
    if plan.brian is None:
        return Trainer(plan)
    from dfc_neuro.learning.trainer_text import TextTrainer

    return TextTrainer(plan)


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
    trainer = trainer_of(plan)
    recorder = Recorder(trainer)
    probe = measures.probe(plan)
    if recorder.tables:
        written, held = recorder.sizes()
        announce_size(writer.path, written, plan.label, held)
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
    for name, part in trainer.net.named().items():
        writer.put(f"weights/{name}", part, ("post", "pre")[:part.ndim], "1")
    return _final(writer, trainer)


def _epoch(writer: Writer, recorder: Recorder, trainer: Trainer, epoch: int,
           diagnostics: list[str], probe: Split) -> str:
    tally, trainer.tally = trainer.tally, Tally()
    found = measures.epoch_metrics(trainer, tally, diagnostics, probe)
    plan = trainer.plan
    for name in (*trainer.TALLIED, *(("newton", "stepped") if plan.averaged else ()),
                 *(("feedback_stepped",) if plan.linear_feedback else ())):
        found.setdefault(name, float("nan"))
    if tally.stepped:
        log.warning("epoch %d: the closed form of the time average gave way to time steps for %d "
                    "samples, for its error would have been over %g", epoch, tally.stepped,
                    TOLERANCE)
    for name, value in found.items():
        writer.extend(f"metrics/{name}", [value], ("epoch",), _unit(name),
                      {"epoch": ([epoch], "1")})
    recorder.record(writer, epoch)
    return f"test error {shown(plan, found['test_error'])}"


def _before(writer: Writer, trainer: Trainer, diagnostics: list[str], probe: Split) -> None:
    """Write the diagnostics down as they are before the first epoch, feedback weights learned."""
    for name, value in measures.epoch_metrics(trainer, Tally(), diagnostics, probe).items():
        if name in diagnostics:  # of the whole network, not of its layers
            writer.put(f"measures/{name}_before", value, (), _unit(name))


def _final(writer: Writer, trainer: Trainer) -> dict[str, float]:
    found = trainer.held_out()
    for name, value in found.items():
        writer.put(f"measures/{name}", value, (), _unit(name))
    return found


def _unit(name: str) -> str:
    return "degree" if name.startswith("angle") else "1"


def shown(plan: Plan, error: float) -> str:
    """Return an error as it is printed: per cent of wrong classes, or a mean squared error."""
    return f"{100 * error:.1f} %" if plan.loss == "cross_entropy" else f"{error:.4g}"
