"""Advance cells that nothing connects: blocks of cells, each through all steps of a stretch.

Within a block the layout is (variable, cell), flat and of a size known to the compiler, so that
loops over the cells of a block become vector instructions and a block stays in the first-level
cache.  The part between the marks below is what a cell's text fills in (`text.py`); as it stands
here it is dy/dt = -y.
"""

import math  # noqa: F401  (for the functions of a cell's text)

import numpy as np

from dfc_neuro.kernels import _functions as f  # noqa: F401
from dfc_neuro.kernels._functions import options
from dfc_neuro.kernels._njit import njit

# --- what a cell's text fills in
BLOCK, STATES, OWN, SEEN = 32, 1, 1, 1
NODES, WEIGHTS = (0.0,), (1.0,)


@njit(**options)
def derivative(y, own, shared, t, out):
    """Write dy/dt of a block."""
    for i in range(BLOCK):
        out[i] = -y[i]


@njit(**options)
def above(y, own, shared, t, out):
    """Write how far a block is above the threshold of a spike."""
    for i in range(BLOCK):
        out[i] = y[i]


@njit(**options)
def seen(y, own, shared, t, out):
    """Write the variables that are recorded."""
    for i in range(BLOCK):
        out[i] = y[i]


# --- end of what a cell's text fills in


@njit(**options)
def step(y, own, shared, t, dt, z, k, total):
    """One step of an explicit Runge-Kutta method in which each stage needs the last one only."""
    for j in range(STATES * BLOCK):
        z[j] = y[j]
        total[j] = 0.0
    for stage in range(len(NODES)):
        derivative(z, own, shared, t + NODES[stage] * dt, k)
        reach = dt * NODES[(stage + 1) % len(NODES)]
        for j in range(STATES * BLOCK):
            total[j] += WEIGHTS[stage] * k[j]
            z[j] = y[j] + reach * k[j]
    for j in range(STATES * BLOCK):
        y[j] += dt * total[j]


@njit(**options)
def load(source, first, rows, block):
    """Copy columns of (rows, cells) into a block; beyond the last cell it is repeated."""
    last = source.shape[1] - 1
    for row in range(rows):
        for i in range(BLOCK):
            block[row * BLOCK + i] = source[row, min(first + i, last)]


@njit(**options)
def store(block, rows, first, target):
    """Copy a block back to columns of (rows, cells)."""
    n = min(BLOCK, target.shape[1] - first)
    for row in range(rows):
        for i in range(n):
            target[row, first + i] = block[row * BLOCK + i]


@njit(**options)
def crossing(a, b, c, d):
    """Where the cubic through (-1, a), (0, b), (1, c), (2, d) passes 0, for b <= 0 < c."""
    low, high = 0.0, 1.0
    for _ in range(50):
        x = 0.5 * (low + high)
        value = (-a * x * (x - 1.0) * (x - 2.0) / 6.0 + b * (x + 1.0) * (x - 1.0) * (x - 2.0) / 2.0
                 - c * (x + 1.0) * x * (x - 2.0) / 2.0 + d * (x + 1.0) * x * (x - 1.0) / 6.0)
        if value > 0.0:
            high = x
        else:
            low = x
    return 0.5 * (low + high)


@njit(**options)
def advance(y, own, shared, past, start, steps, dt, first, stop, times, units):
    """Advance the cells `first` to `stop` by `steps` from step `start`; return how many spiked.

    Parameters
    ----------
    y : (states, cells)
        Changed in place.
    own : (variables, cells)
        What cells have of their own and keep for these steps: stimuli, varied parameters.
    shared : (constants,)
    past : (3, cells)
        How far the cells were above the threshold in the last three steps; changed in place.
    times, units : (most,)
        Receive the spikes: times in seconds, and which cell.
    """
    z, k, total = np.empty(STATES * BLOCK), np.empty(STATES * BLOCK), np.empty(STATES * BLOCK)
    state, mine, height = np.empty(STATES * BLOCK), np.empty(OWN * BLOCK), np.empty(4 * BLOCK)
    now = height[3 * BLOCK:]
    found = 0
    for block in range(first, stop, BLOCK):
        load(y, block, STATES, state)
        load(own, block, OWN, mine)
        load(past, block, 3, height)
        n = min(BLOCK, stop - block)
        for s in range(start, start + steps):
            step(state, mine, shared, s * dt, dt, z, k, total)
            above(state, mine, shared, (s + 1) * dt, now)
            spiked = 0
            for i in range(BLOCK):
                spiked += (height[BLOCK + i] <= 0.0) & (height[2 * BLOCK + i] > 0.0)
            if spiked:
                for i in range(n):
                    if height[BLOCK + i] <= 0.0 and height[2 * BLOCK + i] > 0.0:
                        part = crossing(height[i], height[BLOCK + i], height[2 * BLOCK + i], now[i])
                        times[found] = (s - 1 + part) * dt
                        units[found] = block + i
                        found += 1
            for j in range(3 * BLOCK):
                height[j] = height[BLOCK + j]
        store(state, STATES, block, y)
        store(height, 3, block, past)
    return found


@njit(**options)
def observe(y, own, shared, t, out):
    """Write the recorded variables (variables, cells) at a time."""
    state, mine, block = np.empty(STATES * BLOCK), np.empty(OWN * BLOCK), np.empty(SEEN * BLOCK)
    for first in range(0, y.shape[1], BLOCK):
        load(y, first, STATES, state)
        load(own, first, OWN, mine)
        seen(state, mine, shared, t, block)
        store(block, SEEN, first, out)


@njit(**options)
def heights(y, own, shared, t, out):
    """Write how far each cell is above the threshold (1, cells)."""
    state, mine, block = np.empty(STATES * BLOCK), np.empty(OWN * BLOCK), np.empty(BLOCK)
    for first in range(0, y.shape[1], BLOCK):
        load(y, first, STATES, state)
        load(own, first, OWN, mine)
        above(state, mine, shared, t, block)
        store(block, 1, first, out)
