"""How many samples of the minibatch the controller brought to its steady state."""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._snapshot import Snapshot

Array = np.ndarray


def classify(r_L: Array, u: Array, free: Array, delta: Array, alpha: float,
             epsilon: float = 0.5) -> tuple[Array, Array]:
    """Return which samples converged and which diverged, two boolean (B,).

    With d = |r_L(T) - (r_L* - alpha u(T))| / |r_L^-|: converged if d < 1e-5 and
    |e(T)| < epsilon^2 |e(0)|; diverged if d > 1 or not finite.

    Parameters
    ----------
    r_L, u : (B, n_L)
        Output and control of the last state.
    free : (B, n_L)
        Feedforward output r_L^-.
    delta : (B, n_L)
        Output target minus feedforward output, the first error.
    alpha : float
        Leak of the controller.
    epsilon : float
        Square root of the fraction of the error that may be left.
    """
    error = delta - (r_L - free)
    with np.errstate(invalid="ignore", over="ignore"):
        distance, size = np.linalg.norm(error - alpha * u, axis=1), np.linalg.norm(free, axis=1)
        less = np.linalg.norm(error, axis=1) < epsilon**2 * np.linalg.norm(delta, axis=1)
    return (distance < 1e-5 * size) & less, ~(distance <= size)


def measure(state: Snapshot) -> dict[str, float]:
    """Return the numbers of converged, diverged and other samples."""
    alpha = state.need_control("convergence").alpha
    r_L, u = state.need_final("convergence", "r_L", "u")
    converged, diverged = classify(r_L, u, state.fwd.r[-1], state.delta, alpha)
    return {"converged": float(converged.sum()), "diverged": float(diverged.sum()),
            "neither": float((~converged & ~diverged).sum())}
