"""Normal numbers from a counter: the noise of a sample does not depend on threads or blocks.

Threefry-2x32 with 13 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy
as 1, 2, 3") turns (key, counter) into two 32-bit words, Box-Muller turns them into two normals.
The key is (seed, sample), the counter (step, pair of units).
"""

from __future__ import annotations

import math

import numpy as np

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._elementwise import assign, options

_U = np.uint32
_F = np.float32
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
def _words(k0, k1, step, first, a, b):
    """Fill a and b (uint32) with the words of counters (step, first), (step, first + 1), ..."""
    for i in range(a.size):
        a[i], b[i] = threefry(k0, k1, step, _U(first + _U(i)))


@njit(**options)
def _normals(a, b, bits, x, y):
    """Box-Muller in float32: words a, b to normals x, y; `bits` is scratch (int32).

    ln m for m in [1, 2) by the series of 2 artanh((m - 1)/(m + 1)), sine and cosine by their
    Taylor series on [-pi/4, pi/4]: errors below 1e-6, too small to be seen in any statistic.
    """
    mantissa = bits.view(np.float32)
    for i in range(a.size):
        x[i] = (_F(_U(a[i] >> _U(9))) + _F(0.5)) * _F(2.0**-23)  # in (0, 1)
    whole = x.view(np.int32)
    for i in range(a.size):
        bits[i] = (whole[i] & np.int32(0x007FFFFF)) | np.int32(0x3F800000)
    for i in range(a.size):
        exponent = _F(np.int32(whole[i] >> np.int32(23)) - np.int32(127))
        t = (mantissa[i] - _F(1.0)) / (mantissa[i] + _F(1.0))
        s = t * t
        series = ((((_F(1 / 11) * s + _F(1 / 9)) * s + _F(1 / 7)) * s + _F(1 / 5)) * s
                  + _F(1 / 3)) * s + _F(1.0)
        log = exponent * _F(0.6931471805599453) + _F(2.0) * t * series
        x[i] = math.sqrt(max(_F(-2.0) * log, _F(0.0)))
    for i in range(a.size):
        q = _F(_U(b[i] >> _U(8))) * _F(2.0**-22)  # quarter turns, in [0, 4)
        k = np.int32(q + _F(0.5))
        r = (q - _F(k)) * _F(1.5707963267948966)
        s = r * r
        sine = r * (((_F(-1 / 5040) * s + _F(1 / 120)) * s + _F(-1 / 6)) * s + _F(1.0))
        cosine = (((_F(1 / 40320) * s + _F(-1 / 720)) * s + _F(1 / 24)) * s + _F(-0.5)) * s \
            + _F(1.0)
        odd = (k & np.int32(1)) == np.int32(1)
        c = sine if odd else cosine
        d = cosine if odd else sine
        c = -c if ((k + np.int32(1)) & np.int32(2)) != np.int32(0) else c
        d = -d if (k & np.int32(2)) != np.int32(0) else d
        y[i] = x[i] * d
        x[i] = x[i] * c


@njit(**options)
def add_scaled(out, x, scale):
    """out += scale x; a loop over parts of arrays is vectorised only if they are slices."""
    for i in range(x.size):
        out[i] += scale * out.dtype.type(x[i])


@njit(**options)
def _drawn(units, seed, sample, step, first, words, normals):
    """Return two arrays with the normals of half of the units each."""
    half = (units + 1) // 2
    a, b = words[0, :half], words[1, :half]
    x, y, bits = normals[0, :half], normals[1, :half], normals[2, :half].view(np.int32)
    _words(_U(seed), _U(sample), _U(step), _U(first), a, b)
    _normals(a, b, bits, x, y)
    return x, y[:units - half]


@njit(**options)
def normals_of(out, seed, sample, step, first, words, normals):
    """Fill out with the N(0, 1) of one sample, step and layer; see :func:`add_normals`."""
    x, y = _drawn(out.size, seed, sample, step, first, words, normals)
    assign(out[:x.size], x)
    assign(out[x.size:], y)


@njit(**options)
def add_normals(out, units, scale, seed, samples, step, first, words, normals):
    """Add scale * N(0, 1) to a block out (samples * units), keyed by sample, step and unit.

    `first` is the number of the block's first unit; `words` (2, m) of uint32 and `normals` (3, m)
    of float32 are scratch, 2 m >= units + 1.
    """
    for row in range(samples.size):
        x, y = _drawn(units, seed, samples[row], step, first, words, normals)
        here = out[row * units:(row + 1) * units]
        add_scaled(here[:x.size], x, scale)
        add_scaled(here[x.size:], y, scale)
