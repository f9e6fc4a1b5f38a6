"""Deep Feedback Control: rules read all through the phase of control (time average)."""

from __future__ import annotations

from dfc_neuro.methods._convergence import controlled
from dfc_neuro.methods._step import Minibatch, Step

USES_Q = True


def update(batch: Minibatch) -> Step:
    """Return the rule's mean over the stored states of the phase (Meulemans et al. 2021)."""
    end, good, bad = controlled(batch, learn=True)
    return Step(end.update, int(good.sum()), int(bad.sum()), int((~good & ~bad).sum()), end)
