"""How the time of one sample is divided, where cells have time courses of their own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Steps of one sample: free of control, then controlled.

    The free output is the mean over the last `measured` free steps; rules read in the last `read`
    controlled ones.
    """

    free: int
    measured: int
    controlled: int = 0
    read: int = 0

    @property
    def steps(self) -> int:
        """Steps of one sample."""
        return self.free + self.controlled
