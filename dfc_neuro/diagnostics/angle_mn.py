"""Angle of the weight update to the minimum-norm target update of damping gamma, in degrees."""

from __future__ import annotations

from dfc_neuro.diagnostics._algebra import update_angles
from dfc_neuro.diagnostics._references import minimum_norm
from dfc_neuro.diagnostics._snapshot import Snapshot


def measure(state: Snapshot) -> dict[str, float]:
    """Return the angle of each W and b, and of all of them ("network")."""
    update = state.need_update("angle_mn")
    delta = state.delta / state.target_stepsize if state.nonlinear else state.delta
    return update_angles(state.net.names, update, minimum_norm(
        state.net, state.fwd, delta, state.gamma, nonlinear=state.nonlinear, J=state.jacobian))
