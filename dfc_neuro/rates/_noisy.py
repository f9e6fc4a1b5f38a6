"""One block of samples of the noisy feedback update, of the network linearised.

Compiled; what it computes is derived in :mod:`dfc_neuro.rates.noisy`, in its symbols.  Samples are
the last axis of what has one number a sample, so that loops over them are vectorised.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dfc_neuro.rates._blocks import add, multiply
from dfc_neuro.rates._elementwise import options, scale_rows
from dfc_neuro.rates._noise import normals_of


@njit(**options)
def _add_scaled(out, a, scale):
    for i in range(a.size):
        out[i] += scale * a[i]


@njit(**options)
def _relax(out, keep, a, share):
    """out = keep out + share a"""
    for i in range(a.size):
        out[i] = keep * out[i] + share * a[i]


@njit(**options)
def _times(M, c, out):
    """Add M (n, n, S) times c (n, S) to out (n, S), sample by sample."""
    n = c.shape[0]
    for i in range(n):
        to = out[i]
        for j in range(n):
            row, right = M[i, j], c[j]
            for s in range(right.size):
                to[s] += row[s] * right[s]


@njit(**options)
def _control(Y, u, u_next, u_int, dt, alpha, k_p):
    """One step of the controller, whose error is -Y: the network's own output is the target."""
    for i in range(Y.size):
        u_int[i] -= dt * (Y[i] + alpha * u[i])
        u_next[i] = u_int[i] - k_p * Y[i]


@njit(**options)
def draw(noise, sizes, seed, sample, given):
    """Fill noise, a flat (S, draws, n_i) a layer, with the normals that Euler's steps would add."""
    draws, first, at = noise.size // (sample.size * sizes[1:].sum()), 0, 0
    widest = sizes[1:].max()
    words = np.empty((2, widest), np.uint32)
    normals = np.empty((3, widest), np.float32)
    for n in sizes[1:]:
        for s in range(sample.size):
            for t in range(draws):
                here = noise[at:at + n]
                if given.size:
                    for j in range(n):
                        here[j] = given[t, s, first + j]
                else:
                    normals_of(here, seed, sample[s], t, first, words, normals)
                at += n
        first += n


@njit(**options)
def noisy_block(sizes, W, Q, slope, sample, constants, draws, delayed, proactive, seed, given, dQ,
                K):
    """Add up the noise's part of the update, and K, over the samples of a block.

    Parameters
    ----------
    sizes : int64 (L + 1,)
        n_0..n_L.
    W, Q : flat weights
        As in :mod:`dfc_neuro.rates._blocks`.
    slope : flat
        phi_i'(v_i^-), (S, n_i) of one layer after the other.
    sample : int64 (S,)
        Numbers of the samples, for the noise.
    constants : (7,)
        dt, alpha, k_p, k, k_A, and what noise one step adds to hidden layers and to the output.
    draws : int
        T - 2: what is drawn in the last step but one is the last that is read.
    given : (>= draws, S, sum n_i), or empty
        Normal numbers in place of those that `seed` makes.
    dQ : flat, n_L sum n_i
        sum_t s_i n_i[t] g[t]^T is added, (n_i, n_L) for each layer.
    K : (n_L, n_L)
        sum_t c[t] u[t+1]^T is added.
    """
    dt, alpha, k_p, k, k_A = constants[0], constants[1], constants[2], constants[3], constants[4]
    L, S, n = sizes.size - 1, sample.size, sizes[-1]
    one, F = W.dtype.type(1.0), W.dtype
    lam, keep, total = one - k_A, one - k, sizes[1:].sum()
    noise = np.empty(S * draws * total, F)
    draw(noise, sizes, seed, sample, given)

    # from the output down: J_i, M_i = J_i Q_i, and what the noise does to the output, J_i n_i
    widest = sizes[1:].max()
    J, below = np.zeros(S * n * widest, F), np.empty(S * n * widest, F)
    product, seen = np.empty((S * n, n), F), np.empty((draws, n), F)
    M, P = np.empty((L, n, n, S), F), np.empty((L, draws, n, S), F)
    units, w_end = total, W.size
    for i in range(L - 1, -1, -1):
        m = sizes[i + 1]
        units -= m
        if i == L - 1:
            for s in range(S):
                for a in range(n):
                    J[(s * n + a) * n + a] = one
        else:
            above = sizes[i + 2]
            np.dot(J[:S * n * above].reshape(S * n, above),
                   W[w_end:w_end + above * m].reshape(above, m),
                   below[:S * n * m].reshape(S * n, m))
            J, below = below, J
        w_end -= m * sizes[i]
        scale_rows(J, slope[S * units:S * (units + m)], S, n, m)
        np.dot(J[:S * n * m].reshape(S * n, m), Q[n * units:n * (units + m)].reshape(m, n), product)
        scale = constants[6] if i == L - 1 else constants[5]
        for s in range(S):
            for a in range(n):
                for b in range(n):
                    M[i, a, b, s] = product[s * n + a, b]
            at = S * draws * units + s * draws * m
            multiply(noise[at:at + draws * m], J[s * n * m:(s + 1) * n * m], seen.reshape(-1),
                     draws, m, n)
            for t in range(draws):
                for a in range(n):
                    P[i, t, a, s] = scale * seen[t, a]

    u, c = np.zeros((draws + 2, n, S), F), np.zeros((draws + 1, n, S), F)
    u_int, q, Y = np.zeros(n * S, F), np.zeros((L, n * S), F), np.zeros((L, n * S), F)
    drive = np.zeros((n, S), F)
    for t in range(draws + 1):
        _control(Y[L - 1], u[t].reshape(-1), u[t + 1].reshape(-1), u_int, dt, alpha, k_p)
        if t == draws:
            break
        read = u[t + 1] if proactive else u[t]
        here = c[t + 1].reshape(-1)
        add(here, c[t].reshape(-1))
        _relax(here, lam, read.reshape(-1), k_A)
        for step in range(L):
            i = L - 1 - step if delayed else step
            _relax(q[i], lam, P[i, t].reshape(-1), one)
            flat = drive.reshape(-1)
            for r in range(n * S):
                flat[r] = q[i, r]
            if i:
                add(flat, Y[i - 1])
            _times(M[i], c[t + 1], drive)
            _relax(Y[i], keep, flat, k)

    # what each draw meets in all later steps of the rule, g; back in time
    g, met = np.zeros(n * S, F), np.empty((S * draws, n), F)
    for t in range(draws - 1, -1, -1):
        _relax(g, lam, u[t + 2].reshape(-1), one)
        for a in range(n):
            for s in range(S):
                met[s * draws + t, a] = g[a * S + s]
    units = 0
    for i in range(L):
        m = sizes[i + 1]
        part = below[:m * n].reshape(m, n)
        at = S * draws * units
        np.dot(noise[at:at + S * draws * m].reshape(S * draws, m).T, met, part)
        scale = constants[6] if i == L - 1 else constants[5]
        _add_scaled(dQ[n * units:n * (units + m)], below[:m * n], scale)
        units += m
    for t in range(draws + 1):
        K += np.dot(c[t], u[t + 1].T)
