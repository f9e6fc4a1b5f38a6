"""Adam (Kingma and Ba 2015), with L2-coupled weight decay as in PyTorch's Adam."""

from __future__ import annotations

import numpy as np

OPTIONS: dict[str, object] = {"betas": [0.9, 0.999], "eps": 1e-8}
STATE = ("m", "v")


def step(theta: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], count: int, lr: float,
         options: dict) -> None:
    """One step in place; `count` is the number of this step, from 1.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2,
    theta <- theta - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps).
    """
    F = theta.dtype.type
    b1, b2 = options["betas"]
    m, v = state["m"], state["v"]
    m *= F(b1)
    m += F(1.0 - b1) * g
    v *= F(b2)
    v += F(1.0 - b2) * g * g
    root = np.sqrt(v)
    root *= F(1.0 / np.sqrt(1.0 - b2**count))
    root += F(options["eps"])
    np.divide(m, root, out=root)
    root *= F(lr / (1.0 - b1**count))
    theta -= root
