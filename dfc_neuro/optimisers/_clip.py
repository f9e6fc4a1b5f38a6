"""Gradient clipping as in the published code: a factor max_norm / (norm + 1e-6), where below 1."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray
HOW = ("each", "global", "none")


def _norm(part: Array) -> float:
    flat = part.reshape(-1)
    return math.sqrt(float(np.dot(flat, flat)))


def clip_factors(parts: list[Array], how: str, max_norm: float) -> list[float]:
    """Return what each part is to be scaled by: "each" by itself, all by one "global" norm."""
    if how == "none":
        return [1.0] * len(parts)
    norms = [_norm(part) for part in parts]
    if how == "global":
        norms = [math.hypot(*norms)] * len(parts)
    return [min(1.0, max_norm / (norm + 1e-6)) for norm in norms]
