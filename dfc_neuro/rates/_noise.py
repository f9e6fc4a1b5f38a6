"""Normal numbers from a counter: the noise of a sample does not depend on threads or blocks.

Threefry-2x32 with 13 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy
as 1, 2, 3") turns (key, counter) into two 32-bit words, Box-Muller turns them into two normals.
The key is (seed, sample), the counter (step, pair of units).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from dfc_neuro.rates._elementwise import options

_U = np.uint32
_PARITY = np.uint32(0x1BD11BDA)


@njit(inline="always")
def _mix(x0, x1, r):
    x0 = _U(x0 + x1)
    x1 = _U(_U(x1 << _U(r)) | _U(x1 >> _U(32 - r)))
    return x0, _U(x1 ^ x0)


@njit(**options)
def threefry(k0, k1, c0, c1):
    """Return the two words of Threefry-2x32-13 for key (k0, k1) and counter (c0, c1)."""
    k2 = _U(_U(_PARITY ^ k0) ^ k1)
    x0, x1 = _U(c0 + k0), _U(c1 + k1)
    x0, x1 = _mix(x0, x1, 13)
    x0, x1 = _mix(x0, x1, 15)
    x0, x1 = _mix(x0, x1, 26)
    x0, x1 = _mix(x0, x1, 6)
    x0, x1 = _U(x0 + k1), _U(x1 + _U(k2 + _U(1)))
    x0, x1 = _mix(x0, x1, 17)
    x0, x1 = _mix(x0, x1, 29)
    x0, x1 = _mix(x0, x1, 16)
    x0, x1 = _mix(x0, x1, 24)
    x0, x1 = _U(x0 + k2), _U(x1 + _U(k0 + _U(2)))
    x0, x1 = _mix(x0, x1, 13)
    x0, x1 = _mix(x0, x1, 15)
    x0, x1 = _mix(x0, x1, 26)
    x0, x1 = _mix(x0, x1, 6)
    x0, x1 = _U(x0 + k0), _U(x1 + _U(k1 + _U(3)))
    x0, x1 = _mix(x0, x1, 17)
    return x0, x1


@njit(**options)
def add_normals(out, units, scale, seed, samples, step, first_unit):
    """Add scale * N(0, 1) to a block out (samples * units), keyed by sample, step and unit."""
    to_unit = 2.0**-32
    for row in range(samples.size):
        for pair in range((units + 1) // 2):
            a, b = threefry(_U(seed), _U(samples[row]), _U(step), _U(first_unit + pair))
            radius = scale * math.sqrt(-2.0 * math.log((float(a) + 0.5) * to_unit))
            angle = 2.0 * math.pi * (float(b) * to_unit)
            at = row * units + 2 * pair
            out[at] += out.dtype.type(radius * math.cos(angle))
            if 2 * pair + 1 < units:
                out[at + 1] += out.dtype.type(radius * math.sin(angle))
