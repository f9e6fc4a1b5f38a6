"""Batched linear algebra that several diagnostics share."""

from __future__ import annotations

import numpy as np

from dfc_neuro.rates.network import Update

Array = np.ndarray


def angle(a: Array, b: Array) -> Array:
    """Return the angle between a and b in degrees, over all but the leading axis.

    W. Kahan's form 2 atan2(|a/|a| - b/|b||, |a/|a| + b/|b||), accurate for small angles too; NaN
    where a or b is zero.

    Parameters
    ----------
    a, b : (B, ...)
        One of each a sample; a leading axis of 1 is broadcast.

    Returns
    -------
    (B,)
    """
    a, b = (v.reshape(len(v), -1) for v in (a, b))
    with np.errstate(invalid="ignore"):
        a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    apart, together = np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)
    return np.degrees(2.0 * np.arctan2(apart, together))


def update_angles(names: list[str], update: Update, reference: Update) -> dict[str, float]:
    """Return the angles of two updates in degrees: of each W and b, and of all ("network").

    `names` are those of W.
    """
    found = {"network": float(angle(update.flat()[None], reference.flat()[None])[0])}
    for name, W, V in zip(names, update.dW, reference.dW, strict=True):
        found[name] = float(angle(W[None], V[None])[0])
    for i, (b, c) in enumerate(zip(update.db, reference.db, strict=True), start=1):
        found[f"b{i}"] = float(angle(b[None], c[None])[0])
    return found


def solve_gram(gram: Array, right: Array, gamma: float) -> Array:
    """Return (G + gamma I)^-1 right for Gram matrices G = J J^T of a network's Jacobian.

    With gamma = 0 it is the pseudoinverse: a row of J is exactly zero where phi_L' = 0 and the
    others are independent, since J_L is diagonal; so zero rows drop out, and the rest is solved
    after scaling to unit diagonal.

    Parameters
    ----------
    gram : (B, n, n)
    right : (B, n, m)
    """
    if gamma:
        return np.linalg.solve(gram + gamma * np.eye(gram.shape[1]), right)
    scale = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    dead = scale == 0
    scale = np.where(dead, 1.0, scale)[:, :, None]
    scaled = gram / scale / scale.swapaxes(1, 2)
    scaled += dead[:, :, None] * np.eye(gram.shape[1])
    return np.where(dead[:, :, None], 0.0, np.linalg.solve(scaled, right / scale) / scale)


def gram(J: list[Array], weights: list[Array] | None = None) -> Array:
    """Return sum_i w_i J_i J_i^T (B, n_L, n_L); weights w_i (B,), 1 if not given."""
    total = np.zeros((*J[0].shape[:2], J[0].shape[1]))
    for i, J_i in enumerate(J):
        part = J_i @ J_i.swapaxes(1, 2)
        total += part if weights is None else weights[i][:, None, None] * part
    return total


def through(J: list[Array], Q: list[Array]) -> Array:
    """Return Jbar Qbar = sum_i J_i Q_i (B, n_L, n_L)."""
    total = J[0] @ Q[0]
    for J_i, Q_i in zip(J[1:], Q[1:], strict=True):
        total += J_i @ Q_i
    return total


def stack(Q: list[Array]) -> Array:
    """Return Qbar, the feedback weights of all layers as one (sum n_i, n_L) matrix."""
    return np.concatenate(Q, axis=0)
