"""Angle of Qbar to the Jacobian's damped pseudoinverse, in degrees, batch mean."""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._algebra import angle, gram, solve_gram, stack
from dfc_neuro.diagnostics._snapshot import Snapshot


def measure(state: Snapshot) -> float:
    """Return mean_b angle(J_b^T (J_b J_b^T + gamma I)^-1, Qbar)."""
    Q = stack(state.need_Q("angle_q_pinv"))
    J = np.concatenate(state.jacobian, axis=2)
    return float(angle(solve_gram(gram(state.jacobian), J, state.gamma), Q.T[None]).mean())
