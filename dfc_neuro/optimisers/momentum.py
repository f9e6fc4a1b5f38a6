"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import numpy as np

OPTIONS: dict[str, object] = {"momentum": 0.9}
STATE = ("m",)


def step(theta: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], count: int, lr: float,
         options: dict) -> None:
    """m <- momentum m + g, theta <- theta - lr m, in place (PyTorch's form, no dampening)."""
    F = theta.dtype.type
    m = state["m"]
    m *= F(options["momentum"])
    m += g
    theta -= F(lr) * m
