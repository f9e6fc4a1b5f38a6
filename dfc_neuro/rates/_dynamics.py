"""The dynamics of Deep Feedback Control for one block of samples: the only implementation.

This module is source for :mod:`dfc_neuro.rates.compile`, which puts the expressions of a rule file
in the places of ``POST``, ``PRE`` and ``BIAS`` and compiles the result.  Everything is a deviation
from the feedforward state (see :mod:`dfc_neuro.rates._elementwise`).

Blocks are flat: layer i of a block of S samples lies at ``S * first[i]``, as (S, n_i).  Weights
are flat too: W_i at ``w_first[i]`` as (n_i, n_{i-1}), Q_i at ``n_L * first[i]`` as (n_i, n_L).
"""

import numpy as np
from numba import njit

from dfc_neuro.rates._elementwise import (
    advance,
    control_step,
    deviation,
    largest,
    options,
    relax,
)
from dfc_neuro.rates._noise import add_normals

CHUNK = 8  # time steps whose outer products become one matrix product

# --- what a rule file fills in ---------------------------------------------------------------
POST_SLOTS = 1  # different postsynaptic factors
PRE_SLOTS = 1  # different presynaptic factors
TERMS = ((0, 0),)  # dw/dt = sum over terms of post[a] * pre[b]
BIAS_SLOT = 0  # the postsynaptic factor that is db/dt; -1 for none
FEEDBACK = False  # presynaptic side: the controller (Q) or the layer below (W)


@njit(**options)
def post_factors(x, basal, apical, dr, dp, r, v, gain, p, out, stride):
    for i in range(x.size):
        out[i] = dr[i] - dp[i]


@njit(**options)
def pre_factors(rate, u, u_next, p, out, stride):
    for i in range(rate.size):
        out[i] = rate[i]


# --- end of what a rule file fills in ----------------------------------------------------------


@njit(**options)
def dynamics(sizes, codes, W, Q, x0, v0, r0, gain0, e0, sample, constants, flags, noise, seed,
             p, dW, db, end, trace, trouble):
    """Run one block through a phase of control and sum a rule's factors over it.

    Parameters
    ----------
    sizes, codes : int64 (L + 1,), (L,)
        n_0..n_L and the numbers of the nonlinearities.
    W, Q : flat weights.
    x0 : (S, n_0)
        Input.
    v0, r0, gain0 : flat blocks of the feedforward state and of phi'(v^-).
    e0 : (S, n_L)
        Output target minus feedforward output.
    sample : int64 (S,)
        Numbers of the samples, for noise.
    constants : (8,)
        dt, alpha, k_p, k, k_A, noise steps of hidden layers and output, divergence bound.
    flags : int64 (6,)
        T, delayed, proactive, kind of noise (0 none, 1 given, 2 made), record every, learn.
    noise : (T - 1, S, sum n_i) or empty
    p : the rule's parameters
    dW, db : flat, the sums over samples and time of the rule's products.
    end : 4 flat arrays
        u, and x, basal, apical blocks of the last state; filled.
    trace : 5 arrays (stored states, S, .) for u, x, basal, apical, dr; or empty.
    trouble : int64 (2,)
        Layer (1..L) and step at which the bound was passed, else (0, 0).
    """
    depth, S, n_L = codes.size, x0.shape[0], sizes[-1]
    dt, alpha, k_p, k, k_A = constants[0], constants[1], constants[2], constants[3], constants[4]
    bound = constants[7]
    T, delayed, proactive, noisy, every, learn = flags
    first = np.zeros(depth + 1, np.int64)
    w_first = np.zeros(depth + 1, np.int64)
    for i in range(depth):
        first[i + 1] = first[i] + sizes[i + 1]
        w_first[i + 1] = w_first[i] + sizes[i + 1] * sizes[i]
    total, widest = first[depth], sizes[1:].max()
    F = W.dtype

    u, x, basal, apical = end
    dr = np.zeros(S * total, F)
    u_int = np.zeros(S * n_L, F)
    u_next = np.zeros(S * n_L, F)
    drive = np.zeros(S * widest, F)
    dp = np.zeros(S * widest, F)
    e0_flat = e0.ravel()

    rows = CHUNK * S if learn else 0
    post = np.zeros(POST_SLOTS * rows * total, F)
    pre_width = n_L if FEEDBACK else total
    pre = np.zeros(PRE_SLOTS * rows * pre_width, F)
    input_sum = np.zeros(POST_SLOTS * S * sizes[1] if learn and not FEEDBACK else 0, F)
    rate = np.zeros(S * widest, F)
    words = np.empty((2, widest if noisy == 2 else 0), np.uint32)
    normals = np.empty((3, widest if noisy == 2 else 0), np.float32)
    held = 0

    for t in range(T):
        # t is the state at hand; the step to t + 1 follows its bookkeeping
        if t < T - 1:
            dr_L = dr[S * first[depth - 1]:S * first[depth]]
            control_step(e0_flat, dr_L, u, u_int, u_next, dt, alpha, k_p)
        if every > 0 and t % every == 0:
            at = t // every
            trace[0][at] = u.reshape(S, n_L)
            for i in range(depth):
                lo, hi, n = S * first[i], S * first[i + 1], sizes[i + 1]
                trace[1][at, :, first[i]:first[i + 1]] = x[lo:hi].reshape(S, n)
                trace[2][at, :, first[i]:first[i + 1]] = basal[lo:hi].reshape(S, n)
                trace[3][at, :, first[i]:first[i + 1]] = apical[lo:hi].reshape(S, n)
                trace[4][at, :, first[i]:first[i + 1]] = dr[lo:hi].reshape(S, n)

        # the rule's factors of this state
        if learn and (t < T - 1 or not FEEDBACK):
            for i in range(depth):
                lo, hi, n = S * first[i], S * first[i + 1], sizes[i + 1]
                size = S * n
                deviation(codes[i], v0[lo:hi], r0[lo:hi], basal[lo:hi], dp[:size])
                at = POST_SLOTS * rows * first[i] + held * S * n
                post_factors(x[lo:hi], basal[lo:hi], apical[lo:hi], dr[lo:hi], dp[:size],
                             r0[lo:hi], v0[lo:hi], gain0[lo:hi], p, post[at:],
                             rows * n)
                if not FEEDBACK and i < depth - 1:
                    here = rate[:size]
                    for j in range(size):
                        here[j] = r0[lo + j] + dr[lo + j]
                    at = PRE_SLOTS * rows * first[i] + held * S * n
                    pre_factors(here, here, here, p, pre[at:], rows * n)
            if FEEDBACK:
                pre_factors(u, u, u_next, p, pre[held * S * n_L:], rows * n_L)
            held += 1
        last = t == T - 1 or (FEEDBACK and t == T - 2)
        if learn and held > 0 and (held == CHUNK or last):
            filled = held * S
            for i in range(depth):
                n = sizes[i + 1]
                base = POST_SLOTS * rows * first[i]
                for a in range(POST_SLOTS):
                    lo = base + a * rows * n
                    if a == BIAS_SLOT:
                        sums = db[first[i]:first[i + 1]]
                        for row in range(filled):
                            for j in range(n):
                                sums[j] += post[lo + row * n + j]
                    if i == 0 and not FEEDBACK:
                        sums = input_sum[a * S * n:(a + 1) * S * n]
                        for h in range(held):
                            for j in range(S * n):
                                sums[j] += post[lo + h * S * n + j]
                if i == 0 and not FEEDBACK:
                    continue
                m = n_L if FEEDBACK else sizes[i]
                out_first = n_L * first[i] if FEEDBACK else w_first[i]
                out = dW[out_first:out_first + n * m]
                below = 0 if FEEDBACK else PRE_SLOTS * rows * first[i - 1]
                product = np.empty((n, m), F)
                for a, c in TERMS:
                    lo = base + a * rows * n
                    left = post[lo:lo + filled * n].reshape(filled, n)
                    lo = below + c * rows * m
                    right = pre[lo:lo + filled * m].reshape(filled, m)
                    np.dot(left.T, right, product)
                    out += product.ravel()
            held = 0
        if t == T - 1:
            break

        # the step to t + 1
        used = u_next if proactive else u
        used_block = used.reshape(S, n_L)
        for step in range(depth):
            i = depth - 1 - step if delayed else step
            lo, hi, n = S * first[i], S * first[i + 1], sizes[i + 1]
            size = S * n
            Q_i = Q[n_L * first[i]:n_L * first[i + 1]].reshape(n, n_L)
            np.dot(used_block, Q_i.T, drive[:size].reshape(S, n))
            here = apical[lo:hi]
            if k_A == 1.0:
                here[:] = drive[:size]
            else:
                relax(here, drive[:size], k_A)
            if noisy > 0:
                scale = constants[6] if i == depth - 1 else constants[5]
                if noisy == 1:
                    block = here.reshape(S, n)
                    for row in range(S):
                        for j in range(n):
                            block[row, j] += scale * noise[t, row, first[i] + j]
                elif scale != 0.0:
                    add_normals(here, n, scale, seed, sample, t, first[i], words, normals)
            if i > 0:
                W_i = W[w_first[i]:w_first[i + 1]].reshape(n, sizes[i])
                below_rates = dr[S * first[i - 1]:S * first[i]].reshape(S, sizes[i])
                np.dot(below_rates, W_i.T, basal[lo:hi].reshape(S, n))
            advance(x[lo:hi], here, basal[lo:hi], k)
            deviation(codes[i], v0[lo:hi], r0[lo:hi], x[lo:hi], dr[lo:hi])
        u[:] = u_next
        if bound > 0 and (every > 0 or t % CHUNK == CHUNK - 1 or t == T - 2):
            for i in range(depth):
                if not largest(x[S * first[i]:S * first[i + 1]]) <= bound:
                    trouble[0], trouble[1] = i + 1, t + 1
                    return

    if learn and not FEEDBACK:  # the input is constant: one product for all time
        n, m = sizes[1], sizes[0]
        out = dW[:n * m]
        factors = np.empty(PRE_SLOTS * S * m, F)
        flat_input = x0.ravel()
        pre_factors(flat_input, flat_input, flat_input, p, factors, S * m)
        product = np.empty((n, m), F)
        for a, c in TERMS:
            left = input_sum[a * S * n:(a + 1) * S * n].reshape(S, n)
            right = factors[c * S * m:(c + 1) * S * m].reshape(S, m)
            np.dot(left.T, right, product)
            out += product.ravel()
