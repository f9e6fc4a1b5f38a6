"""One block of samples of the noisy feedback update, of the network linearised.

Compiled; what it computes is derived in :mod:`dfc_neuro.rates.noisy`, in its symbols.  Samples are
the last axis of what has one number a sample, so that loops over them are vectorised.
"""

from __future__ import annotations

import numpy as np

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._blocks import add, multiply, offsets, widest
from dfc_neuro.rates._elementwise import assign, control_step, options
from dfc_neuro.rates._layers import layer_gains
from dfc_neuro.rates._noise import add_scaled, normals_of


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
def draw(noise, sizes, seed, sample, given):
    """Fill noise, a flat (S, draws, n_i) a layer, with the normals that Euler's steps would add."""
    draws, first, at = noise.size // (sample.size * sizes[1:].sum()), 0, 0
    words = np.empty((2, widest(sizes)), np.uint32)
    normals = np.empty((3, widest(sizes)), np.float32)
    for n in sizes[1:]:
        for s in range(sample.size):
            for t in range(draws):
                here = noise[at:at + n]
                if given.size:
                    assign(here, given[t, s, first:first + n])
                else:
                    normals_of(here, seed, sample[s], t, first, words, normals)
                at += n
        first += n


@njit(**options)
def noisy_block(sizes, places, W, Q, slope, sample, constants, draws, delayed, proactive, seed,
                given, dQ, K):
    """Add up the noise's part of the update, and K, over the samples of a block.

    Parameters
    ----------
    sizes : int64 (L + 1,)
        n_0..n_L.
    places, W, Q, slope
        The network, and the state phi_i'(v_i^-), as in :mod:`dfc_neuro.rates._layers`.
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

    # M_i = J_i Q_i, and what the noise does to the output, s_i J_i n_i
    first, _ = offsets(sizes)
    gains, J = layer_gains(sizes, places, W, Q, slope)
    out = slope[S * first[L - 1]:]
    M, P, seen = np.empty((L, n, n, S), F), np.empty((L, draws, n, S), F), np.empty((draws, n), F)
    for i in range(L):
        m, scale = sizes[i + 1], constants[6] if i == L - 1 else constants[5]
        for s in range(S):
            for a in range(n):
                for b in range(n):
                    M[i, a, b, s] = gains[((i * S + s) * n + a) * n + b]
            at = S * draws * first[i] + s * draws * m
            if i < L - 1:
                own = S * n * first[i] + s * n * m
                multiply(noise[at:at + draws * m], J[own:own + n * m], seen.reshape(-1), draws, m,
                         n)
            for t in range(draws):
                for a in range(n):
                    whole = out[s * n + a] * noise[at + t * n + a] if i == L - 1 else seen[t, a]
                    P[i, t, a, s] = scale * whole

    u, c = np.zeros((draws + 2, n, S), F), np.zeros((draws + 1, n, S), F)
    u_int, q, Y = np.zeros(n * S, F), np.zeros((L, n * S), F), np.zeros((L, n * S), F)
    drive, target = np.zeros((n, S), F), np.zeros(n * S, F)  # the network's own output: no error
    for t in range(draws + 1):
        control_step(target, Y[L - 1], u[t].reshape(-1), u_int, u[t + 1].reshape(-1), dt, alpha,
                     k_p)
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
            assign(flat, q[i])
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
    part = np.empty(n * widest(sizes), F)
    for i in range(L):
        m, scale = sizes[i + 1], constants[6] if i == L - 1 else constants[5]
        at = S * draws * first[i]
        np.dot(noise[at:at + S * draws * m].reshape(S * draws, m).T, met,
               part[:m * n].reshape(m, n))
        add_scaled(dQ[n * first[i]:n * first[i + 1]], part[:m * n], scale)
    for t in range(draws + 1):
        K += np.dot(c[t], u[t + 1].T)
