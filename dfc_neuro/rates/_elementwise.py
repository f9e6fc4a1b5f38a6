"""Elementwise kernels over one block of samples, in deviation coordinates.

Arrays are one-dimensional views of (samples, units) blocks.  The deviations x of a voltage from
its feedforward value are small in the published regime, so ``phi(v + x) - phi(v)`` is never
computed as a difference of nearly equal numbers; in float32 that difference would cost two to
four digits of the weight update.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from dfc_neuro.kernels._functions import tanh as tanh64
from dfc_neuro.kernels._njit import njit

# tanh(x)/x on |x| <= 9 as a rational function of x^2: our own fit, weighted least squares iterated
# to the minimax of the relative error, which is 1.3e-9 before rounding.
_P = (0.9999999987256709, 0.13680857190214196, 0.0038695089393724837, 2.8031330452825957e-05,
      3.0642575580879795e-08, -1.2246281328290931e-11)
_Q = (1.0, 0.47014189280672447, 0.02725016005568122, 0.0003940715067057392,
      1.2890364742637792e-06)
_P32 = tuple(np.float32(c) for c in _P)
_Q32 = tuple(np.float32(c) for c in _Q)
_EDGE = np.float32(9.0)

options: dict[str, Any] = {
    "nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True,
    "fastmath": {"contract", "nsz", "arcp", "reassoc"}}


# of what one compiled function calls: compiled as a part of it
inner: dict[str, Any] = options | {"inline": "always"}


def tanh(x):
    """Hyperbolic tangent: that of the cells' kernels in float64, a rational one in float32."""
    return math.tanh(x)


@overload(tanh, inline="always")
def _tanh(x):
    if x != types.float32:
        return lambda x: tanh64(x)
    p0, p1, p2, p3, p4, p5 = _P32
    q0, q1, q2, q3, q4 = _Q32

    def rational(x):
        z = min(max(x, -_EDGE), _EDGE)
        y = z * z
        top = ((((p5 * y + p4) * y + p3) * y + p2) * y + p1) * y + p0
        return z * top / ((((q4 * y + q3) * y + q2) * y + q1) * y + q0)

    return rational


@njit(**options)
def assign(out, x):
    """Copy x to out of the same size; ``out[:] = x`` would compile a message for other sizes."""
    for i in range(x.size):
        out[i] = x[i]


@njit(**options)
def deviation(code, v, r, x, out):
    """Write phi(v + x) - phi(v) to out, given r = phi(v); `code` is the nonlinearity's number."""
    one = x.dtype.type(1.0)
    if code == 0:
        assign(out, x)
    elif code == 1 and x.itemsize == 8:
        for i in range(x.size):
            q = tanh(x[i])
            below = one + r[i] * q
            if below > 0.5:
                out[i] = q * (one - r[i] * r[i]) / below
            else:  # out of a saturated state, where 1 - r^2 has few digits: a large difference
                out[i] = tanh(v[i] + x[i]) - r[i]
    elif code == 1:
        for i in range(x.size):
            q = tanh(x[i])
            out[i] = q * (one - r[i] * r[i]) / (one + r[i] * q)
    elif code == 2 or code == 3:
        low = x.dtype.type(0.0) if code == 2 else x.dtype.type(0.2)
        for i in range(x.size):
            end = v[i] + x[i]
            if v[i] > 0:
                out[i] = x[i] if end > 0 else low * end - v[i]
            else:
                out[i] = low * x[i] if end <= 0 else end - low * v[i]
    else:
        edge = x.dtype.type(700.0 if x.itemsize == 8 else 80.0)  # exp beyond it is infinite
        for i in range(x.size):
            growth = x.dtype.type(math.expm1(min(x[i], edge)))
            below = one + r[i] * growth
            if x.itemsize == 8 and below < 0.5:
                out[i] = 1.0 / (1.0 + math.exp(-v[i] - x[i])) - r[i]
            else:
                out[i] = r[i] * (one - r[i]) * growth / below


@njit(**options)
def phi(code, v, out):
    """Write phi(v) to out; `code` is the nonlinearity's number."""
    one = v.dtype.type(1.0)
    if code == 0:
        assign(out, v)
    elif code == 1:
        for i in range(v.size):
            out[i] = tanh(v[i])
    elif code == 2 or code == 3:
        low = v.dtype.type(0.0 if code == 2 else 0.2)
        for i in range(v.size):
            out[i] = v[i] if v[i] > 0 else low * v[i]
    else:
        for i in range(v.size):
            small = v.dtype.type(math.exp(-abs(v[i])))  # finite
            out[i] = (one if v[i] >= 0 else small) / (one + small)


@njit(**options)
def slope(code, v, r, out):
    """Write phi'(v) to out, given r = phi(v)."""
    one, low = r.dtype.type(1.0), r.dtype.type(0.0 if code == 2 else 0.2)
    if code == 0:
        for i in range(r.size):
            out[i] = one
    elif code == 1:
        for i in range(r.size):
            out[i] = one - r[i] * r[i]
    elif code == 2 or code == 3:
        for i in range(r.size):
            out[i] = one if v[i] > 0 else low
    else:
        for i in range(r.size):
            out[i] = r[i] * (one - r[i])


@njit(**options)
def advance(x, apical, basal, k):
    """One step of the soma: x += k (apical + basal - x)."""
    keep = x.dtype.type(1.0) - k
    for i in range(x.size):
        x[i] = keep * x[i] + k * (apical[i] + basal[i])


@njit(**options)
def advance_linearly(x, apical, basal, held, k, ahead):
    """One step of the soma under an input that goes from `held` to apical + basal linearly."""
    keep, before = x.dtype.type(1.0) - k, k - ahead
    for i in range(x.size):
        new = apical[i] + basal[i]
        x[i] = keep * x[i] + before * held[i] + ahead * new
        held[i] = new


@njit(**options)
def relax(apical, drive, k):
    """One step of the apical compartment: v_A += k (drive - v_A)."""
    keep = apical.dtype.type(1.0) - k
    for i in range(apical.size):
        apical[i] = keep * apical[i] + k * drive[i]


@njit(**options)
def control_step(e0, dr, u, u_int, u_next, dt, alpha, k_p):
    """One step of the controller: u_int += dt (e - alpha u), u_next = u_int + k_p e."""
    for i in range(u.size):
        error = e0[i] - dr[i]
        u_int[i] += dt * (error - alpha * u[i])
        u_next[i] = u_int[i] + k_p * error


@njit(**options)
def control_ahead(error, before, ahead, u, u_int, u_next, dt, alpha, k_p, gain):
    """Predict the control: the trapezoidal rule with the error extrapolated in time.

    u_int becomes what the new integral is for a new error of 0; `ahead` is the extrapolated error.
    """
    half = error.dtype.type(0.5) * dt
    shrink = error.dtype.type(1.0) / (error.dtype.type(1.0) + half * alpha)
    for i in range(u.size):
        u_int[i] = shrink * (u_int[i] + half * (error[i] - alpha * u[i]))
        ahead[i] = error[i] + (error[i] - before[i])
        before[i] = error[i]
        u_next[i] = u_int[i] + gain * ahead[i]


@njit(**options)
def control_corrected(e0, dr, error, u_int, u_next, k_p, gain):
    """Take the control to the error at hand, after :func:`control_ahead`."""
    for i in range(u_next.size):
        error[i] = e0[i] - dr[i]
        u_int[i] += (gain - k_p) * error[i]
        u_next[i] = u_int[i] + k_p * error[i]


@njit(**options)
def scale_rows(J, slope, samples, rows, n):
    """Multiply J (samples, rows, n) by slope (samples, n), both flat, in place."""
    for s in range(samples):
        own = slope[s * n:(s + 1) * n]
        for r in range(rows):
            row = J[(s * rows + r) * n:(s * rows + r + 1) * n]
            for j in range(n):
                row[j] *= own[j]


@njit(**options)
def largest(x):
    """Largest absolute value; NaN if there is one."""
    top = x.dtype.type(0.0)
    for i in range(x.size):
        size = abs(x[i])
        if not size <= top:
            top = size
    return top
