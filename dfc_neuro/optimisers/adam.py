"""Adam (Kingma and Ba 2015), with L2-coupled weight decay as in PyTorch's Adam."""

from __future__ import annotations

import numpy as np

from dfc_neuro.rates._adam import adam

OPTIONS: dict[str, object] = {"betas": [0.9, 0.999], "eps": 1e-8}
STATE = ("m", "v")


def step(theta: np.ndarray, ascent: np.ndarray, factor: float, decay: float,
         state: dict[str, np.ndarray], count: int, lr: float, options: dict) -> None:
    """One step in place along g = decay theta - factor ascent; `count` is its number, from 1.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2,
    theta <- theta - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps).
    """
    F = theta.dtype.type
    b1, b2 = options["betas"]
    adam(theta.reshape(-1), ascent.reshape(-1), state["m"].reshape(-1), state["v"].reshape(-1),
         F(factor), F(decay), F(b1), F(b2), F(lr / (1.0 - b1**count)),
         F(1.0 / np.sqrt(1.0 - b2**count)), F(options["eps"]))
