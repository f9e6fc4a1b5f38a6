"""Arrays of all layers as one vector, which is how the kernels take them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

Array = np.ndarray


class Layers(list[Array]):
    """Arrays that are parts of one vector, `whole`, as long as none of them is replaced."""

    def __init__(self, whole: Array, parts: Iterable[Array]):
        super().__init__(parts)
        self.whole, self.parts = whole, tuple(self)

    @property
    def intact(self) -> bool:
        """Whether the arrays are still those parts (a copy's are not)."""
        return len(self) == len(self.parts) and all(
            a is b and a.base is self.whole for a, b in zip(self, self.parts, strict=True))


def split(whole: Array, shapes: Iterable[tuple[int, ...]]) -> Layers:
    """Return the parts of a vector that have these shapes, one after the other; no copies."""
    parts, at = [], 0
    for shape in shapes:
        end = at + math.prod(shape)
        parts.append(whole[at:end].reshape(shape))
        at = end
    return Layers(whole, parts)


def joined(parts: Sequence[Array]) -> Array:
    """Return arrays of one precision as a vector: what :func:`split` split, or else a copy."""
    if isinstance(parts, Layers) and parts.intact:
        return parts.whole
    return np.concatenate([np.ravel(p) for p in parts])
