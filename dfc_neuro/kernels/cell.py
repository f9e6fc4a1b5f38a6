"""A compiled cell: many of them, which nothing connects, advanced together."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from dfc_neuro import generated
from dfc_neuro.kernels.text import Text, source
from dfc_neuro.rates import threads

Array = np.ndarray
TEMPLATE = Path(__file__).with_name("_advance.py")
WORTH_THREADS = 20_000  # cells times steps from which on handing over to threads pays


class Cells:
    """Cells of one text.

    Parameters
    ----------
    text : Text
    method : {"rk4", "rk2", "euler"}
    y : ndarray, shape (states, cells)
        The initial state in SI units; changed in place.
    own : ndarray, shape (variables, cells)
        What the cells have of their own; whoever holds it may change it between stretches.
    shared : ndarray, shape (constants,)
    dt : float
        Seconds.
    where : str
        The cell's file, for messages.

    Raises
    ------
    EngineError
        If the equations hold what these kernels cannot compute.
    """

    def __init__(self, text: Text, method: str, y: Array, own: Array, shared: Array, dt: float,
                 where: str):
        self.text, self.y, self.own, self.shared, self.dt = text, y, own, shared, dt
        self.module: ModuleType = generated.module(
            generated.filled(TEMPLATE, source(text, method, where)), "cell")
        self.past = np.empty((3, y.shape[1]))
        self._seen = np.empty((len(text.seen), y.shape[1]))
        self.module.heights(y, own, shared, 0.0, self.past[:1])
        self.past[1:] = self.past[0]

    def advance(self, step: int, steps: int) -> tuple[Array, Array]:
        """Advance by some steps; return times and indices of the spikes found.

        A spike is where the cubic through four steps crosses the threshold, so it is found one
        step after it occurred.
        """
        cells, block = self.y.shape[1], self.module.BLOCK
        blocks = -(-cells // block)

        def run(first: int, stop: int) -> tuple[Array, Array]:
            most = (stop - first) * (steps // 2 + 1)
            times, units = np.empty(most), np.empty(most, np.int64)
            n = self.module.advance(self.y, self.own, self.shared, self.past, step, steps, self.dt,
                                    first, stop, times, units)
            return times[:n], units[:n]

        workers = min(threads.available(), blocks) if cells * steps > WORTH_THREADS else 1
        if workers == 1:
            return run(0, cells)
        edges = [min(cells, blocks * k // workers * block) for k in range(workers + 1)]
        times, units = zip(*threads.pool(workers).map(run, edges[:-1], edges[1:]), strict=True)
        return np.concatenate(times), np.concatenate(units)

    def last_crossings(self, step: int) -> tuple[Array, Array]:
        """Return spikes between the last two steps, timed on the straight line between them."""
        before, now = self.past[1], self.past[2]
        units = np.flatnonzero((before <= 0) & (now > 0))
        part = before[units] / (before[units] - now[units])
        return (step - 1 + part) * self.dt, units

    def seen(self, step: int) -> Array:
        """Return the variables that are recorded, (variables, cells), at a step."""
        self.module.observe(self.y, self.own, self.shared, step * self.dt, self._seen)
        return self._seen
