"""Gradient clipping as in the published code: a factor max_norm / (norm + 1e-6), where below 1."""

from __future__ import annotations

import numpy as np

from dfc_neuro.errors import ProtocolError

Array = np.ndarray


def _factor(norm: float, max_norm: float) -> float:
    return min(1.0, max_norm / (norm + 1e-6))


def clip(parts: list[Array], how: str, max_norm: float, where: str) -> None:
    """Scale `parts` in place: "each" by itself, all by one "global" norm, or "none"."""
    if how == "none":
        return
    norms = [float(np.linalg.norm(part.astype(np.float64))) for part in parts]
    if how == "each":
        factors = [_factor(norm, max_norm) for norm in norms]
    elif how == "global":
        factors = [_factor(float(np.linalg.norm(norms)), max_norm)] * len(parts)
    else:
        raise ProtocolError(f"{where}.clip", f"is '{how}'", "allowed are each, global, none")
    for part, factor in zip(parts, factors, strict=True):
        if factor < 1.0:
            part *= part.dtype.type(factor)
