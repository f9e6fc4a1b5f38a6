"""Which samples of a controlled minibatch have converged (dfc.md 1.6)."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
CLOSE = 1e-5  # bound on |r_L(T) - (r_L* - alpha u(T))| / |r_L^-|
SHRUNK = 0.25  # bound on |e(T)| / |e(0)|, epsilon^2 with the published epsilon of 1/2


def classify(error: Array, u: Array, free: Array, start: Array, alpha: float
             ) -> tuple[Array, Array]:
    """Return which samples converged and which diverged, two boolean (B,).

    With d = |e(T) - alpha u(T)| / |r_L^-|: converged if d < 1e-5 and |e(T)| < |e(0)| / 4;
    diverged if d > 1 or not finite.

    Parameters
    ----------
    error, u : (B, n_L)
        r_L* - r_L and control at the last state.
    free : (B, n_L)
        Feedforward output r_L^-.
    start : (B, n_L)
        The first error, r_L* - r_L^-.
    """
    from dfc_neuro.rates import _outputs

    converged, diverged = np.empty(len(error), bool), np.empty(len(error), bool)
    _outputs.classify(error, u, free, start, alpha, CLOSE, SHRUNK, converged, diverged)
    return converged, diverged
