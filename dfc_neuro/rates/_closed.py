"""The closed form of DFC for the samples lo..hi-1 of a minibatch: compiled, in two calls.

What it computes is derived in :mod:`dfc_neuro.rates.averaged`, in its symbols; states are flat as
in :mod:`dfc_neuro.rates._layers`.  `constants` (float64) are dt, alpha, k_p, k, k_A; `flags` the
number of stored states N, delayed, proactive.
"""

from __future__ import annotations

import numpy as np

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._blocks import add, multiply, offsets, widest
from dfc_neuro.rates._chain import chain
from dfc_neuro.rates._elementwise import assign, inner, options
from dfc_neuro.rates._layers import add_gains, layer_gains, of_layer, slopes, sweep


@njit(**inner)
def _invert(A):
    """Invert A (n, n) in place by the elimination of Gauss and Jordan, with pivots."""
    n = A.shape[0]
    swaps = np.empty(n, np.int64)
    for c in range(n):
        best = c
        for i in range(c + 1, n):
            if abs(A[i, c]) > abs(A[best, c]):
                best = i
        swaps[c] = best
        for j in range(n):
            A[c, j], A[best, j] = A[best, j], A[c, j]
        scale = 1.0 / A[c, c]
        A[c, c] = 1.0
        for j in range(n):
            A[c, j] *= scale
        for i in range(n):
            if i != c:
                factor = A[i, c]
                A[i, c] = 0.0
                for j in range(n):
                    A[i, j] -= factor * A[c, j]
    for c in range(n - 1, -1, -1):
        for i in range(n):
            A[i, c], A[i, swaps[c]] = A[i, swaps[c]], A[i, c]


@njit(**inner)
def _times(matrices, vectors, out):
    """out = matrices (S, n, n) times vectors, (S, n) flat as out is."""
    S, n, _ = matrices.shape
    for s in range(S):
        for a in range(n):
            total = 0.0
            for b in range(n):
                total += matrices[s, a, b] * vectors[s * n + b]
            out[s * n + a] = total


@njit(**inner)
def _last_somata(sizes, codes, places, W, Q, D, f, e0, error, x_end, lo, hi):
    """Fill x_end: X_i^(k) = Q_i f_k + W_i D_{i-1} X_{i-1}^(k+1), and x_{i,e} = X_i^(1).

    The X_i^(k) of a layer are rows of one product.  A linear output layer needs none: its x is
    that of the output, e_0 - e_e.  `D` is the state of slopes, `f` (L, S, n_L) the control after
    k = 1..L somatic filters.
    """
    first, _ = offsets(sizes)
    depth, S, n_L, B = codes.size, hi - lo, sizes[-1], x_end.size // first[-1]
    known = 1 if codes[-1] == 0 else 0
    size = depth * S * widest(sizes)
    here, below, through = np.empty(size, W.dtype), np.empty(size, W.dtype), np.empty(size, W.dtype)
    for i in range(depth - known):
        k, m, n = depth - known - i, sizes[i], sizes[i + 1]
        multiply(f[:k * S * n_L], Q[n_L * first[i]:n_L * first[i + 1]], here[:k * S * n], k * S,
                 n_L, n)
        if i:
            own, bent = of_layer(D, first, i - 1, S, 0, S), below[S * m:(k + 1) * S * m]
            for j in range(k):
                part = bent[j * S * m:(j + 1) * S * m]
                for q in range(S * m):
                    part[q] *= own[q]
            multiply(bent, W[places[i, 2]:places[i, 2] + n * m], through[:k * S * n], k * S, m, n)
            add(here[:k * S * n], through[:k * S * n])
        assign(of_layer(x_end, first, i, B, lo, hi), here[:S * n])
        here, below = below, here
    if known:
        end = of_layer(x_end, first, depth - 1, B, lo, hi)
        for q in range(end.size):
            end[q] = e0[q] - error[q]


@njit(**inner)
def _mean_control(e0, u, u_int, u_slow, error, hidden, constants, flags, inverse, w, fixed):
    """Fill w, the mean control, and what of its right side does not depend on the layers."""
    dt, alpha, k, k_A = constants[0], constants[1], constants[3], constants[4]
    steps, delayed, proactive = flags[0], flags[1], flags[2]
    beta, zeta = (1.0 / k - 1.0) / steps, delayed / steps
    right = np.empty(w.size)
    for q in range(w.size):
        now, last = np.float64(u[q]), np.float64(error[q])
        g = ((1.0 / k_A - 1.0) * u_slow[q] + (0.0 if proactive else now)) / steps
        fixed[q] = e0[q] - u_int[q] / (steps * dt) - (last - alpha * now) / steps - alpha * g
        right[q] = fixed[q] + beta * (e0[q] - last - hidden[q]) - zeta * hidden[q]
    _times(inverse, right, w)


@njit(**options)
def linearise(sizes, codes, places, W, Q, v, r, delta, constants, flags, lo, hi, u, error, w, fixed,
              inverse, shift, late, sums):
    """Find out what the linearised network says of the averages; without skip projections.

    Parameters
    ----------
    sizes, codes, places, W, Q, v, r
        The network, and the feedforward state of the minibatch.
    delta : (B, n_L)
        Output target minus feedforward output.
    u, error : (B, n_L)
        Control and error of the last stored state; filled.
    w, fixed : (B, n_L), float64
        The mean control; the part of its right side that does not depend on the layers; filled.
    inverse : (B, n_L, n_L), float64
        Of J Q + alpha I; filled.
    shift, late : states
        -beta x_{i,e}, and zeta D_i x_{i,e} with delayed transmission (empty without); filled.
    sums : (B, 3), float64
        Of each sample's once filtered control, over time: the square of its sum, the sum of its
        square; and whether the error has not grown, 1 or 0; filled.
    """
    first, _ = offsets(sizes)
    F, depth, S, n_L = W.dtype, codes.size, hi - lo, sizes[-1]
    e0, u, error = (delta[lo:hi].reshape(-1), u[lo:hi].reshape(-1), error[lo:hi].reshape(-1))
    D = slopes(codes, first, v, r, lo, hi)
    M, _ = layer_gains(sizes, places, W, Q, D)
    f, u_int, u_slow, hidden = (np.empty(depth * S * n_L, F), np.empty(S * n_L, F),
                                np.empty(S * n_L, F), np.empty(S * n_L, F))
    chain(M, e0, constants, flags[0], flags[1] != 0, flags[2] != 0, f, u, u_int, u_slow, error,
          hidden, sums[lo:hi, 1])
    add_gains(M, constants[1], inverse[lo:hi])
    for s in range(lo, hi):
        _invert(inverse[s])
    _mean_control(e0, u, u_int, u_slow, error, hidden, constants, flags, inverse[lo:hi],
                  w[lo:hi].reshape(-1), fixed[lo:hi].reshape(-1))

    steps = flags[0]
    beta, zeta = (1.0 / constants[3] - 1.0) / steps, flags[1] / steps
    for s in range(S):
        whole, before, after = 0.0, 0.0, 0.0
        for a in range(n_L):
            whole += (steps * (w[lo + s, a] - beta * f[s * n_L + a])) ** 2
            before += np.float64(delta[lo + s, a]) ** 2
            after += np.float64(error[s * n_L + a]) ** 2
        sums[lo + s, 0] = whole
        sums[lo + s, 2] = 1.0 if after <= before else 0.0  # NaN has grown

    _last_somata(sizes, codes, places, W, Q, D, f, e0, error, shift, lo, hi)
    for i in range(depth):
        x_end = of_layer(shift, first, i, delta.shape[0], lo, hi)
        if late.size:
            behind = of_layer(late, first, i, delta.shape[0], lo, hi)
            own = of_layer(D, first, i, S, 0, S)
            for q in range(x_end.size):
                behind[q] = F.type(zeta) * own[q] * x_end[q]
        for q in range(x_end.size):
            x_end[q] *= F.type(-beta)


@njit(**options)
def average(sizes, codes, places, W, Q, v, r, alpha, lo, hi, w, fixed, inverse, shift, late, miss,
            x, basal, apical, dr):
    """Take w + `miss` as the mean control, fill the averages, and `miss` with what is missing now.

    x, basal, apical and dr are states; miss (B, n_L), float64, is the Newton step that the output
    asks for.
    """
    first, _ = offsets(sizes)
    w, fixed, miss = w[lo:hi].reshape(-1), fixed[lo:hi].reshape(-1), miss[lo:hi].reshape(-1)
    control, residual = np.empty(w.size, W.dtype), np.empty(w.size)
    for q in range(w.size):
        w[q] += miss[q]
        control[q] = W.dtype.type(w[q])
    sweep(sizes, codes, places, W, Q, v, r, control, shift, late, apical, x, basal, dr, lo, hi)
    dr_L = of_layer(dr, first, codes.size - 1, x.size // first[-1], lo, hi)
    for q in range(w.size):
        residual[q] = fixed[q] - dr_L[q] - alpha * w[q]
    _times(inverse[lo:hi], residual, miss)
