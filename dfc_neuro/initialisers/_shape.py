"""What an initialiser is given: a module has ``draw(place: Place, rng) -> array``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Place:
    """The weights to draw: (n_to, n_from), and for feedback weights the forward weights above."""

    n_to: int
    n_from: int
    above: tuple[np.ndarray, ...] = ()

    @property
    def xavier_scale(self) -> float:
        """sqrt(2 / (n_in + n_out)), the standard deviation of Glorot and Bengio (2010)."""
        return float(np.sqrt(2.0 / (self.n_to + self.n_from)))
