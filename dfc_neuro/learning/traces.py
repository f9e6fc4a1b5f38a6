"""Recordings of the phase in which forward weights learn: voltages, control, plastic changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dfc_neuro.datasets._dataset import Split
from dfc_neuro.learning.plan import RatePhase
from dfc_neuro.rates.simulate import Trajectory, phi_deviation, simulate

if TYPE_CHECKING:
    from dfc_neuro.learning.trainer import Trainer

Array = np.ndarray
VOLTAGES = ("v_basal", "v_apical", "v_soma")
CONTROL = ("u", "r_output", "target")
CHANGES = ("mismatch", "weight_change", "rate_pre")
PRE = 16  # presynaptic units whose weights are looked at
RECORDABLE = {"voltage": VOLTAGES, "control": CONTROL, "change": CHANGES}


@dataclass(frozen=True)
class Recording:
    """Arrays by name, the dims of each, coordinates of dims, and units where not 1."""

    arrays: dict[str, Array]
    dims: Mapping[str, tuple[str, ...]]
    scales: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


def recorded(trainer: Trainer, phase: RatePhase, samples: Split, kind: str, layer: int,
             units: list[int], every: int) -> Recording:
    """Return recordings of one kind of a rate network, of chosen units of a layer.

    Of time courses, `every` so many steps are kept.
    """
    if kind == "change":
        return Recording(single_changes(trainer, phase, samples, layer, units, PRE), {
            "mismatch": ("sample", "unit"), "weight_change": ("sample", "unit", "pre"),
            "rate_pre": ("sample", "pre")})
    path, target = phase_trajectory(trainer, phase, samples, every)
    arrays = {"u": path.u, "r_output": path.r[-1],
              "target": np.broadcast_to(target, path.r[-1].shape)}
    dims = dict.fromkeys(CONTROL, ("time", "sample", "unit"))
    arrays |= {what: getattr(path, what)[layer][:, :, units] for what in VOLTAGES}
    dims |= dict.fromkeys(VOLTAGES, ("time", "sample", "unit"))
    return Recording(arrays, dims, {"time": (path.time_step * phase.control.dt, "tau_u")})


def phase_trajectory(trainer: Trainer, phase: RatePhase, samples: Split, every: int = 1
                     ) -> tuple[Trajectory, Array]:
    """Run a phase of control on samples and store it; return it with the output target."""
    batch, _ = trainer.minibatch(phase, samples, 0)
    end = simulate(batch.net, phase.control, batch.fwd, batch.delta, seed=0, record_every=every,
                   threads=trainer.plan.threads)
    assert end.trajectory is not None
    return end.trajectory, batch.fwd.r[-1] + batch.delta


def single_changes(trainer: Trainer, phase: RatePhase, samples: Split, layer: int, units: list[int],
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
