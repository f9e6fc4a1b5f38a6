"""The linearised control loop alone, stepped exactly: the control and its filters.

Linearised at the feedforward point, layer i acts on the output through M_i = J_i Q_i and as many
somatic low-pass filters as there are layers from i to the output.  So the state of a sample is
n_L (L + 3) numbers, whatever the widths of the layers.

Samples stand side by side in vectors (:mod:`dfc_neuro.rates._lanes`), a group of them at a time, so
that its matrices stay in the first cache.  n is n_L rounded up to a multiple of ROWS; what is added
is zero and stays so.  In float32 the loop corrects its own rounding: the error e is summed until it
balances the leak.
"""

from __future__ import annotations

import numpy as np

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._elementwise import assign, inner, options
from dfc_neuro.rates._lanes import BYTES, load, splat, store

ROWS = 10  # rows of a matrix side by side: as many sums hide the latency of the multiply-adds


@njit(**options)
def subtract_rows(M, m, g, count, e, o):
    """e -= M g for ROWS rows: of M `count` columns from vector m, and e from vector o."""
    e0, e1, e2, e3, e4 = (load(e, o), load(e, o + 1), load(e, o + 2), load(e, o + 3),
                          load(e, o + 4))
    e5, e6, e7, e8, e9 = (load(e, o + 5), load(e, o + 6), load(e, o + 7), load(e, o + 8),
                          load(e, o + 9))
    for c in range(count):
        here, at = load(g, c), m + c * ROWS
        e0 -= load(M, at) * here
        e1 -= load(M, at + 1) * here
        e2 -= load(M, at + 2) * here
        e3 -= load(M, at + 3) * here
        e4 -= load(M, at + 4) * here
        e5 -= load(M, at + 5) * here
        e6 -= load(M, at + 6) * here
        e7 -= load(M, at + 7) * here
        e8 -= load(M, at + 8) * here
        e9 -= load(M, at + 9) * here
    store(e, o, e0)
    store(e, o + 1, e1)
    store(e, o + 2, e2)
    store(e, o + 3, e3)
    store(e, o + 4, e4)
    store(e, o + 5, e5)
    store(e, o + 6, e6)
    store(e, o + 7, e7)
    store(e, o + 8, e8)
    store(e, o + 9, e9)


@njit(**inner)
def _steps(M, e0, constants, steps, delayed, proactive, g, state, square):
    """Step the loops of one group to the last stored state; see :func:`chain` for the arrays."""
    F = e0.dtype.type
    dt, alpha, k_p = splat(F(constants[0])), splat(F(constants[1])), splat(F(constants[2]))
    k, k_A = splat(F(constants[3])), splat(F(constants[4]))
    lanes = BYTES // e0.itemsize
    n = e0.size // lanes
    depth, error = g.size // e0.size, 3 * n
    squares = splat(F(0.0))
    for _ in range(steps - 1):
        for c in range(n):
            u, slow, e = load(state, c), load(state, 2 * n + c), load(state, error + c)
            integral = load(state, n + c) + dt * (e - alpha * u)
            new = integral + k_p * e
            slow += k_A * ((new if proactive else u) - slow)
            store(state, c, new)
            store(state, n + c, integral)
            store(state, 2 * n + c, slow)
            store(state, error + c, load(e0, c))
        for step in range(depth):
            i = (step if delayed else depth - 1 - step) * n
            if i + n < depth * n:
                for c in range(i, i + n):
                    here = load(g, c)
                    store(g, c, here + k * (load(g, c + n) - here))
            else:
                for c in range(n):
                    here = load(g, i + c)
                    here += k * (load(state, 2 * n + c) - here)
                    store(g, i + c, here)
                    squares += here * here
        for q in range(0, n, ROWS):
            subtract_rows(M, q * depth * n, g, depth * n, state, error + q)
    store(square, 0, squares)


@njit(**inner)
def _pack(M, S, n_L, first, lanes, n, out):
    """Write matrices M (L, S, n_L, n_L) of `lanes` samples from `first` as the loop reads them.

    M_1, ..., M_L stand side by side, ROWS rows of all lanes at a time, column by column.
    """
    depth = M.size // (S * n_L * n_L)
    for i in range(depth):
        for lane in range(min(lanes, S - first)):
            at = (i * S + first + lane) * n_L * n_L
            for a in range(n_L):
                q = a // ROWS
                to = (q * depth * n + i * n) * ROWS + a - q * ROWS
                for c in range(n_L):
                    out[(to + c * ROWS) * lanes + lane] = M[at + a * n_L + c]


@njit(**inner)
def chain(M, e0, constants, steps, delayed, proactive, f, u, u_int, u_slow, error, hidden,
          squares):
    """Step the loop of each sample to the last stored state; all arrays are flat.

    Parameters
    ----------
    M : (L, S, n_L, n_L)
        M_1, ..., M_L.
    e0 : (S, n_L)
        Output target minus feedforward output.
    constants : (5,), float64
        dt, alpha, k_p, k (soma), k_A (apical compartment).
    f : (L, S, n_L)
        The apically filtered control after one to L somatic filters; filled.
    u, u_int, u_slow, error : (S, n_L)
        Control, its integral part, the apically filtered control, and e = r_L* - r_L; filled.
    hidden : (S, n_L)
        Minus the sum over hidden layers of J_i x_i at the end: of what all layers up to i do to
        the output through layer i; filled.
    squares : (S,)
        Sum over outputs and time of the square of the once filtered control; filled.
    """
    depth, F = f.size // e0.size, e0.dtype
    n_L = M.size // f.size
    S, lanes, n = e0.size // n_L, BYTES // e0.itemsize, -(-n_L // ROWS) * ROWS
    size = n * lanes
    matrices, start = np.zeros(depth * n * size, F), np.zeros(size, F)
    g, state, ends, square = (np.zeros(depth * size, F), np.zeros(4 * size, F),
                              np.zeros(size, F), np.zeros(lanes, F))
    for first in range(0, S, lanes):
        here = min(lanes, S - first)
        if here < lanes:
            matrices[:] = 0.0
            start[:] = 0.0
        _pack(M, S, n_L, first, lanes, n, matrices)
        for lane in range(here):
            for a in range(n_L):
                start[a * lanes + lane] = e0[(first + lane) * n_L + a]
        g[:] = 0.0
        ends[:] = 0.0
        state[:3 * size] = 0.0
        assign(state[3 * size:], start)
        _steps(matrices, start, constants, steps, delayed, proactive, g, state, square)
        for i in range(1, depth):
            for q in range(0, n, ROWS):
                subtract_rows(matrices, q * depth * n, g[(depth - i) * size:], i * n, ends, q)
        for lane in range(here):
            for a in range(n_L):
                to, at = (first + lane) * n_L + a, a * lanes + lane
                u[to], u_int[to] = state[at], state[size + at]
                u_slow[to], error[to] = state[2 * size + at], state[3 * size + at]
                hidden[to] = ends[at]
                for i in range(depth):
                    f[i * e0.size + to] = g[(depth - 1 - i) * size + at]
            squares[first + lane] = square[lane]
