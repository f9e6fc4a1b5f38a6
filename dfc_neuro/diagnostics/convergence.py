"""How many samples of the minibatch the controller brought to its steady state."""

from __future__ import annotations

from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.rates.convergence import classify


def measure(state: Snapshot) -> dict[str, float]:
    """Return the numbers of converged, diverged and other samples."""
    alpha = state.need_control("convergence").alpha
    r_L, u = state.need_final("convergence", "r_L", "u")
    free = state.fwd.r[-1]
    converged, diverged = classify(state.delta - (r_L - free), u, free, state.delta, alpha)
    return {"converged": float(converged.sum()), "diverged": float(diverged.sum()),
            "neither": float((~converged & ~diverged).sum())}
