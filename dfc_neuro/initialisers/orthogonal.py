"""Orthogonal rows or columns times sqrt(6 / (n_in + n_out))."""

from __future__ import annotations

import numpy as np

from dfc_neuro.initialisers._shape import Place


def draw(place: Place, rng: np.random.Generator) -> np.ndarray:
    """Return weights of shape (n_to, n_from)."""
    n, m = max(place.n_to, place.n_from), min(place.n_to, place.n_from)
    q, r = np.linalg.qr(rng.normal(size=(n, m)))
    q = q * np.sign(np.diag(r)) * np.sqrt(3.0) * place.xavier_scale
    return q if place.n_to >= place.n_from else q.T
