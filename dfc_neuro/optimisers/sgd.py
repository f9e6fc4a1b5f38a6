"""Stochastic gradient descent."""

from __future__ import annotations

import numpy as np

OPTIONS: dict[str, object] = {}
STATE: tuple[str, ...] = ()


def step(theta: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], count: int, lr: float,
         options: dict) -> None:
    """theta <- theta - lr g, in place."""
    theta -= theta.dtype.type(lr) * g
