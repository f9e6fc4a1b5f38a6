"""Angle of the weight update to the negative loss gradient (backpropagation), in degrees."""

from __future__ import annotations

from dfc_neuro.diagnostics._algebra import update_angles
from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.rates.network import backprop


def measure(state: Snapshot) -> dict[str, float]:
    """Return the angle of each W and b, and of all of them ("network")."""
    update = state.need_update("angle_bp")
    return update_angles(state.net.names, update, backprop(state.net, state.fwd, state.delta))
