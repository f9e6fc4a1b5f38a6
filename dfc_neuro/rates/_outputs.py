"""What is read from the outputs of a minibatch, (B, n_L): losses and convergence."""

from __future__ import annotations

import math

import numpy as np

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._elementwise import options


@njit(**options)
def cross_entropy(r, labels, gradient):
    """Return the mean cross-entropy of softmax(r) and write its gradient."""
    (B, n), F, loss = r.shape, r.dtype.type, 0.0
    for s in range(B):
        top, total = r[s, 0], F(0.0)
        for a in range(n):
            top = max(top, r[s, a])
        for a in range(n):
            gradient[s, a] = F(math.exp(r[s, a] - top))
            total += gradient[s, a]
        loss += math.log(total) - (r[s, labels[s]] - top)
        share = F(1.0) / (total * F(B))
        for a in range(n):
            gradient[s, a] *= share
        gradient[s, labels[s]] -= F(1.0) / F(B)
    return loss / B


@njit(**options)
def classify(error, u, free, start, alpha, close, shrunk, converged, diverged):
    """Say of each sample whether it converged or diverged; see rates/convergence.py."""
    for s in range(error.shape[0]):
        distance, size, after, before = 0.0, 0.0, 0.0, 0.0
        for a in range(error.shape[1]):
            e = np.float64(error[s, a])
            distance += (e - alpha * u[s, a]) ** 2
            size += np.float64(free[s, a]) ** 2
            after += e * e
            before += np.float64(start[s, a]) ** 2
        size, distance = math.sqrt(size), math.sqrt(distance)
        converged[s] = distance < close * size and math.sqrt(after) < shrunk * math.sqrt(before)
        diverged[s] = not distance <= size
