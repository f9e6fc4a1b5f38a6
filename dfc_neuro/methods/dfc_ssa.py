"""DFC-SSA: rules read at the analytic steady state, one linear solve a sample."""

from __future__ import annotations

from dfc_neuro.methods._step import Minibatch, Step
from dfc_neuro.rates.rules import apply_rule
from dfc_neuro.rates.steady_state import steady_state

USES_Q = True


def update(batch: Minibatch) -> Step:
    """Return the rule at v_i = Q_i u + W_i r_{i-1} + b_i, u = (J Q + alpha I)^{-1} delta."""
    end = steady_state(batch.net, batch.fwd, batch.delta, batch.control.alpha, batch.threads)
    return Step(apply_rule(batch.rule, batch.net, batch.fwd, end.x, end.basal, end.apical, end.dr),
                converged=len(end.u))
