"""What is written down of a training run, epoch by epoch."""

from __future__ import annotations

import numpy as np

from dfc_neuro.datasets._dataset import Split
from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.learning.plan import Plan
from dfc_neuro.learning.trainer import PROBE, Tally, Trainer, stream
from dfc_neuro.registry import get, names

Array = np.ndarray
BASIC = ("loss", "error")
NEEDS_Q = ("angle_ssa", "angle_q_jt", "angle_q_pinv", "condition_2", "ssa_distance", "stability",
           "convergence")


def wanted(plan: Plan, key: str) -> list[str]:
    """Return the diagnostics that ``record.epochs.what`` asks for, those that apply.

    Raises
    ------
    ProtocolError
        For an unknown name.
    """
    asked = plan.record["epochs"].what if "epochs" in plan.record else BASIC
    known = {*BASIC, *names("diagnostics")}
    for name in asked:
        if name not in known:
            raise ProtocolError(key, f"unknown diagnostic '{name}'", near(name, known))
    return [name for name in asked if name not in BASIC
            and (plan.method.USES_Q or name not in NEEDS_Q)]


def probe(plan: Plan) -> Split:
    """Return the fixed samples on which diagnostics are measured."""
    data = plan.dataset.train
    count = min(plan.diagnostics.get("samples", 64), len(data))
    rng = np.random.default_rng(stream(plan.seed, PROBE))
    rows = np.sort(rng.permutation(len(data))[:count])
    return data.part(rows)


def epoch_metrics(trainer: Trainer, tally: Tally, diagnostics: list[str], samples: Split
                  ) -> dict[str, float]:
    """Return the metrics of one finished epoch."""
    plan, n = trainer.plan, max(tally.weight, 1)
    out: dict[str, float] = {}
    if tally.weight:
        counted = {"train_loss": tally.loss / n, "train_error": tally.error / n,
                   "converged": float(tally.converged), "diverged": float(tally.diverged),
                   "not_converged": float(tally.neither)}
        out |= {name: counted[name] for name in trainer.TALLIED}
        if plan.averaged:
            out |= {"newton": float(tally.newton), "stepped": float(tally.stepped)}
        if plan.linear_feedback:
            out["feedback_stepped"] = float(tally.feedback_stepped)
    out |= trainer.held_out()
    phase = plan.control_phase()
    if phase is None or not diagnostics:
        return out
    state = trainer.snapshot(phase, samples)
    for name in diagnostics:
        value = get("diagnostics", name, "record.epochs.what").measure(state)
        if isinstance(value, dict):
            out |= {f"{name}_{part}" if part != "network" else name: float(v)
                    for part, v in value.items()}
        else:
            out[name] = float(value)
    return out


def layer_of(plan: Plan, population: str, key: str) -> int:
    """Return the layer, from 0, of a population of neurons."""
    populations = plan.layered.populations[1:]
    matching = [i for i, name in enumerate(populations) if name == population]
    if not matching and population == "hidden":
        matching = [i for i, name in enumerate(populations) if name.startswith("hidden")]
    if not matching:
        raise ProtocolError(key, f"unknown population '{population}'",
                            near(population, populations))
    return matching[0]
