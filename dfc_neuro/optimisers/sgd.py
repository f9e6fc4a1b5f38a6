"""Stochastic gradient descent."""

from __future__ import annotations

import numpy as np

OPTIONS: dict[str, object] = {}
STATE: tuple[str, ...] = ()


def step(theta: np.ndarray, ascent: np.ndarray, factor: float, decay: float,
         state: dict[str, np.ndarray], count: int, lr: float, options: dict) -> None:
    """theta <- theta - lr g with g = decay theta - factor ascent, in place."""
    F = theta.dtype.type
    theta *= F(1.0 - lr * decay)
    theta += F(lr * factor) * ascent
