"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import numpy as np

OPTIONS: dict[str, object] = {"momentum": 0.9}
STATE = ("m",)


def step(theta: np.ndarray, ascent: np.ndarray, factor: float, decay: float,
         state: dict[str, np.ndarray], count: int, lr: float, options: dict) -> None:
    """m <- momentum m + g, theta <- theta - lr m (PyTorch's form), in place.

    The gradient is g = decay theta - factor ascent.
    """
    F = theta.dtype.type
    m = state["m"]
    m *= F(options["momentum"])
    m -= F(factor) * ascent
    if decay:
        m += F(decay) * theta
    theta -= F(lr) * m
