"""Angle of the feedback weights Qbar to the transposed Jacobian J^T, in degrees, batch mean."""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._algebra import angle, stack
from dfc_neuro.diagnostics._snapshot import Snapshot


def measure(state: Snapshot) -> float:
    """Return mean_b angle(J_b^T, Qbar)."""
    Q = stack(state.need_Q("angle_q_jt"))
    J = np.concatenate(state.jacobian, axis=2)
    return float(angle(J, Q.T[None]).mean())
