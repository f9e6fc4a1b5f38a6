"""Functions of equation text that a compiler turns into vector instructions, in float64.

A call of the C library in a loop keeps the loop from being vectorised.  So the exponential and
what follows from it are written out: x = k ln 2 + r with |r| <= ln(2)/2, exp(r) - 1 by its series
to r^13 (the rest is below 1e-17 of it), and 2^k put together from its bits.  Errors are one or two
units in the last place.  The arguments of an exponential are held within -708 to 709.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dfc_neuro.kernels._njit import njit

options: dict[str, Any] = {
    "nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract", "arcp"}}

_LOG2_E = 1.0 / math.log(2.0)
_LN2_HIGH = 0.693147180369123816490  # its last 21 bits are 0: k times it is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it leaves the nearest integer in the low bits
_ROOT_HALF = np.int64(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)
_EXPONENT = np.int64(-(1 << 52))  # those of sign and exponent
_UNSHIFT = 2.0**-52
_C = tuple(1.0 / math.factorial(n) for n in range(14))


@njit(forceinline=True, **options)
def _parts(x):
    """Return 2^k and exp(r) - 1 for x = k ln 2 + r."""
    x = 709.0 if x > 709.0 else x
    x = -708.0 if x < -708.0 else x
    shifted = x * _LOG2_E + _ROUND
    k = shifted - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    q = _C[13]
    q = q * r + _C[12]
    q = q * r + _C[11]
    q = q * r + _C[10]
    q = q * r + _C[9]
    q = q * r + _C[8]
    q = q * r + _C[7]
    q = q * r + _C[6]
    q = q * r + _C[5]
    q = q * r + _C[4]
    q = q * r + _C[3]
    q = q * r + _C[2]
    bits = (np.float64(shifted).view(np.int64) << np.int64(52)) + np.int64(0x3FF0000000000000)
    return np.int64(bits).view(np.float64), r + r * r * q


@njit(forceinline=True, **options)
def exp(x):
    """e^x."""
    power, part = _parts(x)
    return power + power * part


@njit(forceinline=True, **options)
def expm1(x):
    """e^x - 1, also for small x."""
    power, part = _parts(x)
    return power * part + (power - 1.0)


@njit(forceinline=True, **options)
def exprel(x):
    """(e^x - 1)/x, 1 at x = 0."""
    safe = 1.0 if x == 0.0 else x
    power, part = _parts(safe)
    value = (power * part + (power - 1.0)) / safe
    return 1.0 if x == 0.0 else value


@njit(forceinline=True, **options)
def tanh(x):
    """Hyperbolic tangent."""
    grown = expm1(2.0 * x)
    return grown / (grown + 2.0)


@njit(forceinline=True, **options)
def log(x):
    """Natural logarithm: NaN below 0, about -709 at 0."""
    bits = np.float64(x).view(np.int64)
    whole = (bits - _ROOT_HALF) & _EXPONENT  # so that sqrt(1/2) <= m < sqrt(2)
    k = np.float64(whole) * _UNSHIFT
    m = np.int64(bits - whole).view(np.float64)
    s = (m - 1.0) / (m + 1.0)  # log m = 2 (s + s^3/3 + s^5/5 + ...), |s| < 0.172
    z = s * s
    q = 1.0 / 23.0
    q = q * z + 1.0 / 21.0
    q = q * z + 1.0 / 19.0
    q = q * z + 1.0 / 17.0
    q = q * z + 1.0 / 15.0
    q = q * z + 1.0 / 13.0
    q = q * z + 1.0 / 11.0
    q = q * z + 1.0 / 9.0
    q = q * z + 1.0 / 7.0
    q = q * z + 1.0 / 5.0
    q = q * z + 1.0 / 3.0
    part = 2.0 * s + 2.0 * s * z * q
    value = k * _LN2_HIGH + (k * _LN2_LOW + part)
    return value if x >= 0.0 else np.nan


@njit(forceinline=True, **options)
def power(x, exponent):
    """x to a power that is no whole number."""
    return exp(exponent * log(x))
