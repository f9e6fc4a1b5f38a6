"""RMSprop: the step divided by the root of the running mean square of the gradient."""

from __future__ import annotations

import numpy as np

OPTIONS: dict[str, object] = {"rho": 0.99, "eps": 1e-8}
STATE = ("v",)


def step(theta: np.ndarray, ascent: np.ndarray, factor: float, decay: float,
         state: dict[str, np.ndarray], count: int, lr: float, options: dict) -> None:
    """v <- rho v + (1 - rho) g^2, theta <- theta - lr g / (sqrt(v) + eps), in place.

    The gradient is g = decay theta - factor ascent.
    """
    F = theta.dtype.type
    g = F(decay) * theta - F(factor) * ascent
    v = state["v"]
    v *= F(options["rho"])
    v += F(1.0 - options["rho"]) * g * g
    theta -= F(lr) * g / (np.sqrt(v) + F(options["eps"]))
