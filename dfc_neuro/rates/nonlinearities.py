"""The nonlinearities of the rate neuron, with what the engine needs of each.

``phi(v)``, its derivative, and the *deviation* ``phi(v + x) - phi(v)`` for a displacement x,
computed without taking the difference of nearly equal numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Nonlinearity:
    """One nonlinearity; `code` is its number inside the kernels.

    `text` holds the expressions of x by which a cell's ``phi(x)`` is recognised, `slope_text` that
    of its derivative.
    """

    code: int
    text: tuple[str, ...]
    slope_text: str
    phi: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]  # of v and r = phi(v)


def _sigmoid(v: Array) -> Array:
    small = np.exp(-np.abs(v))  # exact to rounding on both sides, and finite
    return np.where(v >= 0, 1.0, small) / (1.0 + small)


NONLINEARITIES = {
    "linear": Nonlinearity(0, ("x",), "1", lambda v: v.copy(),
                           lambda v, r: np.ones_like(v)),
    "tanh": Nonlinearity(1, ("tanh(x)",), "1 - tanh(x)**2", np.tanh,
                         lambda v, r: 1.0 - r * r),
    "relu": Nonlinearity(
        2, ("relu(x)", "x*int(x > 0)"), "int(x > 0)",
        lambda v: np.maximum(v, 0.0), lambda v, r: (v > 0).astype(v.dtype),
    ),
    "leaky_relu": Nonlinearity(
        3, ("x*(0.2 + 0.8*int(x > 0))", "relu(x) - 0.2*relu(-x)"), "0.2 + 0.8*int(x > 0)",
        lambda v: np.where(v > 0, v, 0.2 * v).astype(v.dtype),
        lambda v, r: np.where(v > 0, 1.0, 0.2).astype(v.dtype),
    ),
    "sigmoid": Nonlinearity(
        4, ("1/(1 + exp(-x))",), "(1/(1 + exp(-x)))*(1 - 1/(1 + exp(-x)))", _sigmoid,
        lambda v, r: r * (1.0 - r),
    ),
}
