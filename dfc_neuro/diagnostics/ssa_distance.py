"""Distance of the controlled output to the analytic steady state, relative to the start's."""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._references import analytic_state
from dfc_neuro.diagnostics._snapshot import Snapshot


def measure(state: Snapshot) -> float:
    """Return mean_b |r_L(T) - r_L^SSA| / |r_L^- - r_L^SSA|."""
    alpha = state.need_control("ssa_distance").alpha
    state.need_Q("ssa_distance")
    (r_L,) = state.need_final("ssa_distance", "r_L")
    steady = analytic_state(state.net, state.fwd, state.delta, alpha).r[-1]
    start = np.linalg.norm(state.fwd.r[-1] - steady, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.mean(np.linalg.norm(r_L - steady, axis=1) / start))
