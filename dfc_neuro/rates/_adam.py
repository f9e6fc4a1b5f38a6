"""Adam in one pass over the parameters: clipping, decay and step fused."""

from __future__ import annotations

import math

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._elementwise import options


@njit(**options)
def adam(theta, ascent, m, v, factor, decay, b1, b2, rate, root, eps):
    """theta -= rate * m / (root * sqrt(v) + eps) with g = decay * theta - factor * ascent.

    Arrays are flat; `rate` is lr / (1 - b1^t), `root` 1 / sqrt(1 - b2^t).
    """
    one = theta.dtype.type(1.0)
    for i in range(theta.size):
        g = decay * theta[i] - factor * ascent[i]
        m[i] = b1 * m[i] + (one - b1) * g
        v[i] = b2 * v[i] + (one - b2) * g * g
        theta[i] -= rate * m[i] / (root * math.sqrt(v[i]) + eps)
