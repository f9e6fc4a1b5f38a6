"""Direct feedback alignment: the output error through fixed random weights."""

from __future__ import annotations

from dfc_neuro.methods._step import Minibatch, Step
from dfc_neuro.rates.network import Update, slopes

USES_Q = False


def update(batch: Minibatch) -> Step:
    """Return the mean of 2 phi'(v_i) (Q_i delta) r_{i-1}^T, and 2 delta r_{L-1}^T at the output.

    Feedback weights Q_i of the hidden layers stay as they were drawn (dfc.md 2.7).
    """
    net, fwd, delta = batch.net, batch.fwd, batch.delta
    factor = net.dtype.type(2.0 / len(delta))
    targets = [delta @ Q.T * slope for Q, slope in
               zip(net.Q[:-1], slopes(net, fwd)[:-1], strict=True)] + [delta]
    pre = fwd.presynaptic
    dW = [factor * (targets[i].T @ pre[j]) for i, j in net.links]
    return Step(Update(dW, [factor * g.sum(axis=0) for g in targets]), converged=len(delta))
