"""Losses at the output, their gradients, and the output target of Deep Feedback Control.

Both are means over the minibatch, as in the published code: cross-entropy over B samples,
squared error over B * n_L numbers.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def cross_entropy(r: Array, labels: Array) -> tuple[float, Array]:
    """Return the softmax cross-entropy of logits r (B, n_L) and its gradient (B, n_L)."""
    from dfc_neuro.rates import _outputs

    gradient = np.empty_like(r)
    return _outputs.cross_entropy(r, labels, gradient), gradient


def mse(r: Array, target: Array) -> tuple[float, Array]:
    """Return the mean squared error of r (B, n_L) and its gradient (B, n_L)."""
    difference = r - target
    return float((difference**2).mean()), difference * np.asarray(2.0 / r.size, r.dtype)


LOSSES = {"cross_entropy": cross_entropy, "mse": mse}


def errors(loss: str, r: Array, target: Array) -> float:
    """Return the fraction of wrong classes (cross-entropy) or the mean squared error."""
    if loss == "cross_entropy":
        return float((r.argmax(axis=1) != target).mean())
    return mse(r, target)[0]
