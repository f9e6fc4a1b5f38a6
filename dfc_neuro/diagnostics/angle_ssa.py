"""Angle of the weight update to that of the analytic steady state (DFC-SSA), in degrees."""

from __future__ import annotations

from dfc_neuro.diagnostics._algebra import update_angles
from dfc_neuro.diagnostics._references import analytic_state, analytic_update
from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.rates.nonlinearities import NONLINEARITIES


def measure(state: Snapshot) -> dict[str, float]:
    """Return the angle of each W and b, and of all of them ("network").

    The presynaptic rates of the reference are those of the last controlled state if the snapshot
    holds it, as in the published code; else those of the analytic state.
    """
    update = state.need_update("angle_ssa")
    alpha = state.need_control("angle_ssa").alpha
    state.need_Q("angle_ssa")
    steady = analytic_state(state.net, state.fwd, state.delta, alpha)
    controlled = None
    if (state.final or {}).get("v") is not None:
        (v,) = state.need_final("angle_ssa", "v")
        controlled = [NONLINEARITIES[name].phi(a)
                      for name, a in zip(state.net.nonlinearities, v, strict=True)]
    return update_angles(state.net.names, update, analytic_update(
        state.net, state.fwd, steady, nonlinear=state.nonlinear, controlled=controlled))
