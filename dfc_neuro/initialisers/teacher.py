"""Normal with three times the deviation of xavier_normal: weights of a teacher network."""

from __future__ import annotations

import numpy as np

from dfc_neuro.initialisers._shape import Place


def draw(place: Place, rng: np.random.Generator) -> np.ndarray:
    """Return weights of shape (n_to, n_from)."""
    return rng.normal(0.0, 3.0 * place.xavier_scale, (place.n_to, place.n_from))
