"""What is written down of a training run: metrics by epoch, voltages, single plastic changes."""

from __future__ import annotations

import numpy as np

from dfc_neuro.datasets._dataset import Split
from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.learning.plan import Phase, Plan
from dfc_neuro.learning.trainer import PROBE, Tally, Trainer, stream
from dfc_neuro.rates.simulate import Trajectory, deviation, phi_deviation, simulate
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


def held_out(trainer: Trainer) -> dict[str, float]:
    """Return loss and error on the validation samples, if there are any, and the test samples."""
    out: dict[str, float] = {}
    for name in ("validation", "test"):
        split = getattr(trainer.plan.dataset, name)
        if split is not None:
            out[f"{name}_loss"], out[f"{name}_error"] = trainer.evaluate(split)
    return out


def epoch_metrics(trainer: Trainer, tally: Tally, diagnostics: list[str], samples: Split
                  ) -> dict[str, float]:
    """Return the metrics of one finished epoch."""
    plan, n = trainer.plan, max(tally.weight, 1)
    out: dict[str, float] = {}
    if tally.weight:
        out |= {"train_loss": tally.loss / n, "train_error": tally.error / n,
                "converged": float(tally.converged), "diverged": float(tally.diverged),
                "not_converged": float(tally.neither)}
        if plan.averaged:
            out |= {"newton": float(tally.newton), "stepped": float(tally.stepped)}
    out |= held_out(trainer)
    phase = plan.control_phase()
    if phase is None or not diagnostics:
        return out
    state = snapshot(trainer, phase, samples)
    for name in diagnostics:
        value = get("diagnostics", name, "record.epochs.what").measure(state)
        if isinstance(value, dict):
            out |= {f"{name}_{part}" if part != "network" else name: float(v)
                    for part, v in value.items()}
        else:
            out[name] = float(value)
    return out


def snapshot(trainer: Trainer, phase: Phase, samples: Split) -> Snapshot:
    """Return the state of the network at a minibatch, with the method's own update."""
    plan = trainer.plan
    batch, _ = trainer.minibatch(phase, samples, 0)
    step = plan.method.update(batch)
    final = None
    if step.controlled is not None:
        end = step.controlled
        dr = deviation(batch.net, batch.fwd, end.x)
        final = {"r_L": batch.fwd.r[-1] + dr[-1], "u": end.u,
                 "v": [free + d for free, d in zip(batch.fwd.v, end.x, strict=True)]}
    return Snapshot(batch.net, batch.fwd, batch.delta, step.update, phase.control,
                    gamma=plan.diagnostics.get("gamma", 0.0), final=final,
                    target_stepsize=plan.nudge, as_published=plan.as_published)


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


def phase_trajectory(trainer: Trainer, phase: Phase, samples: Split, every: int = 1
                     ) -> tuple[Trajectory, Array]:
    """Run a phase of control on samples and store it; return it with the output target."""
    batch, _ = trainer.minibatch(phase, samples, 0)
    end = simulate(batch.net, phase.control, batch.fwd, batch.delta, seed=0, record_every=every,
                   threads=trainer.plan.threads)
    assert end.trajectory is not None
    return end.trajectory, batch.fwd.r[-1] + batch.delta


def single_changes(trainer: Trainer, phase: Phase, samples: Split, layer: int, units: list[int],
                   pre: int) -> dict[str, Array]:
    """Return what single samples would change: mismatch and weight changes of chosen units.

    Returns
    -------
    dict
        ``mismatch`` (sample, unit): time average of soma minus basal prediction;
        ``weight_change`` (sample, unit, pre): the rule's mean over the phase;
        ``rate_pre`` (sample, pre): the presynaptic rate without control.
    """
    out: dict[str, list[Array]] = {"mismatch": [], "weight_change": [], "rate_pre": []}
    for k in range(len(samples)):
        one = samples.part(slice(k, k + 1))
        batch, _ = trainer.minibatch(phase, one, 0)
        end = simulate(batch.net, phase.control, batch.fwd, batch.delta, rule=phase.rule,
                       record_every=1, threads=1)
        assert end.trajectory is not None
        i = layer
        x = end.trajectory.v_soma[i] - batch.fwd.v[i]
        basal = end.trajectory.v_basal[i] - batch.fwd.v[i]
        v, r = (np.ascontiguousarray(np.broadcast_to(part[i], x.shape))
                for part in (batch.fwd.v, batch.fwd.r))
        soma, dendrite = (phi_deviation(trainer.net.nonlinearities[i], v, r, part)
                          for part in (x, basal))
        out["mismatch"].append((soma - dendrite).mean(axis=(0, 1))[units])
        out["weight_change"].append(end.dW[i][units, :pre])
        out["rate_pre"].append(batch.fwd.presynaptic[i][0, :pre])
    return {name: np.array(values) for name, values in out.items()}
