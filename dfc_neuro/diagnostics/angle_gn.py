"""Angle of the weight update to the per-sample Gauss-Newton update of damping gamma, in degrees."""

from __future__ import annotations

from dfc_neuro.diagnostics._algebra import update_angles
from dfc_neuro.diagnostics._references import gauss_newton
from dfc_neuro.diagnostics._snapshot import Snapshot


def measure(state: Snapshot) -> dict[str, float]:
    """Return the angle of each W and b, and of all of them ("network")."""
    update = state.need_update("angle_gn")
    return update_angles(state.net.names, update, gauss_newton(
        state.net, state.fwd, state.delta, state.gamma, J=state.jacobian))
