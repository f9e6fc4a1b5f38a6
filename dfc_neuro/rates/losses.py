"""Losses at the output, their gradients, and the output target of Deep Feedback Control.

Both are means over the minibatch, as in the published code: cross-entropy over B samples,
squared error over B * n_L numbers.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def cross_entropy(r: Array, labels: Array) -> tuple[float, Array]:
    """Return the softmax cross-entropy of logits r (B, n_L) and its gradient (B, n_L)."""
    shifted = r - r.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(r))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1.0
    return float(-log_p[rows, labels].mean()), gradient / np.asarray(len(r), r.dtype)


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
