"""Error backpropagation: minus the gradient of the loss."""

from __future__ import annotations

from dfc_neuro.methods._step import Minibatch, Step
from dfc_neuro.rates.network import backprop

USES_Q = False


def update(batch: Minibatch) -> Step:
    """Return minus the gradient; the nudge lambda is divided out of `delta`."""
    scale = batch.net.dtype.type(1.0 / batch.nudge)
    return Step(backprop(batch.net, batch.fwd, batch.delta * scale), converged=len(batch.delta))
