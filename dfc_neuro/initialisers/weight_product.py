"""Q_i = W_{i+1}^T ... W_L^T of the initial forward weights; the unit matrix at the output."""

from __future__ import annotations

import numpy as np

from dfc_neuro.initialisers._shape import Place


def draw(place: Place, rng: np.random.Generator) -> np.ndarray:
    """Return weights of shape (n_to, n_from)."""
    product = np.eye(place.n_from)
    for W in reversed(place.above):
        product = W.T @ product
    return product
