"""Condition 2: share of Qbar in the row space of the Jacobian; 1 where it holds."""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._algebra import gram, solve_gram, through
from dfc_neuro.diagnostics._snapshot import Snapshot

Array = np.ndarray


def ratio(J: list[Array], Q: list[Array]) -> float:
    """Return mean_b |P_b Qbar|_F / |Qbar|_F, P_b = J^T (J J^T)^-1 J.

    Parameters
    ----------
    J : list of (B, n_L, n_i)
    Q : list of (n_i, n_L)
    """
    JQ = through(J, Q)
    inside = (JQ * solve_gram(gram(J), JQ, 0.0)).sum(axis=(1, 2))
    whole = sum(float((q * q).sum()) for q in Q)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.mean(np.sqrt(np.maximum(inside, 0.0)) / np.sqrt(whole)))


def measure(state: Snapshot) -> float:
    """Return the ratio of condition 2 at the feedforward state."""
    return ratio(state.jacobian, state.need_Q("condition_2"))
