"""The dynamics of Deep Feedback Control for one block of samples: the only implementation.

This module is source for :mod:`dfc_neuro.rates.compile`, which puts the expressions of a rule file
in the places of ``POST``, ``PRE`` and ``BIAS`` and compiles the result.  Everything is a deviation
from the feedforward state (see :mod:`dfc_neuro.rates._elementwise`).

The layout of its flat arrays is that of :mod:`dfc_neuro.rates._blocks`.
"""

import numpy as np

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._blocks import (
    CHUNK,
    NARROW_CHUNK,
    add_input,
    add_states,
    flush,
    multiply,
    network_step,
    offsets,
    reads_input,
    settle,
    store,
    weigh,
    widest,
)
from dfc_neuro.rates._elementwise import (
    assign,
    control_ahead,
    control_step,
    deviation,
    largest,
    options,
)

# --- what a rule file fills in ---------------------------------------------------------------
POST_SLOTS = 1  # different postsynaptic factors
PRE_SLOTS = 1  # different presynaptic factors
PRODUCTS = np.array([(0, 0, 0)])  # (c, a, b): post[a] * pre[b] is added to sum number c
SUMS = (True,)  # whether a postsynaptic factor is wanted summed over samples, as for db/dt
FEEDBACK = False  # presynaptic side: the controller (Q) or the layer below (W)
PREDICTS = True  # whether a postsynaptic factor reads dp, what the basal compartment alone would do


@njit(**options)
def post_factors(x, basal, apical, dr, dp, r, v, gain, p, out, stride):
    for i in range(x.size):
        out[i] = dr[i] - dp[i]


@njit(**options)
def pre_factors(rate, u, u_next, p, out, stride):
    for i in range(rate.size):
        out[i] = rate[i]


@njit(**options)
def weight_factors(w, p, out, stride):
    for i in range(w.size):
        out[i] = 1.0


# --- end of what a rule file fills in ----------------------------------------------------------


@njit(**options)
def collect(sizes, first, S, held, rows, codes, v0, r0, gain0, x, basal, apical, dr, dp, rate, u,
            u_next, p, post, pre):
    """Write the rule's factors of one state into the buffers."""
    depth, n_L = codes.size, sizes[-1]
    for i in range(depth):
        lo, hi, n = S * first[i], S * first[i + 1], sizes[i + 1]
        v, r, b = v0[lo:hi], r0[lo:hi], basal[lo:hi]
        if PREDICTS:
            deviation(codes[i], v, r, b, dp[:S * n])
        at = POST_SLOTS * rows * first[i] + held * S * n
        post_factors(x[lo:hi], b, apical[lo:hi], dr[lo:hi], dp[:S * n], r, v, gain0[lo:hi], p,
                     post[at:], rows * n)
        if not FEEDBACK and i < depth - 1:
            here, change = rate[:S * n], dr[lo:hi]
            for j in range(S * n):
                here[j] = r[j] + change[j]
            pre_factors(here, here, here, p, pre[PRE_SLOTS * rows * first[i] + held * S * n:],
                        rows * n)
    if FEEDBACK:
        pre_factors(u, u, u_next, p, pre[held * S * n_L:], rows * n_L)


@njit(**options)
def factors(first, x, basal, apical, dr, dp, r, v, gain, p, starts, ends, post):
    """Write postsynaptic factors at one state of a minibatch: of some units of each layer.

    All but `p` are states of :mod:`dfc_neuro.rates._layers`; layer i is read from unit starts[i] to
    ends[i]-1, and filled in `post` are (POST_SLOTS, B, units) of each.
    """
    B, at = x.size // first[-1], 0
    for i in range(starts.size):
        units, lo = ends[i] - starts[i], B * first[i] + starts[i]
        for s in range(B):
            hi = lo + units
            post_factors(x[lo:hi], basal[lo:hi], apical[lo:hi], dr[lo:hi], dp[lo:hi], r[lo:hi],
                         v[lo:hi], gain[lo:hi], p, post[at + s * units:], B * units)
            lo += first[i + 1] - first[i]
        at += POST_SLOTS * B * units


@njit(**options)
def dynamics(sizes, skips, codes, W, Q, corrector, x0, v0, r0, gain0, e0, sample, constants, flags,
             noise, seed, p, dW, db, end, trace, trouble):
    """Run one block through a phase of control and sum a rule's factors over it.

    Steps of second order begin at the control just after the first error, u = k_p e.  For them
    the first state counts half in the sum and the last one and a half times: the trapezoidal rule
    up to the last state, and one interval more, so that T states are T dt.

    Parameters
    ----------
    sizes, codes : int64 (L + 1,), (L,)
        n_0..n_L and the numbers of the nonlinearities.
    skips : int64 (K, 3)
        Layer (from 0) and source r_j of each skip projection, and where its weights begin in W.
    W, Q, corrector : flat weights; (I + g Q_L)^-1 g Q_L for steps of second order, else empty.
    x0 : (S * n_0,)
        Input.
    v0, r0, gain0 : flat blocks of the feedforward state and of phi'(v^-).
    e0 : (S * n_L,)
        Output target minus feedforward output.
    sample : int64 (S,)
        Numbers of the samples, for noise.
    constants : (11,)
        dt, alpha, k_p, k, k_A, noise steps of hidden layers and output, divergence bound; the
        parts of k and k_A that go to the new input, du/de at the new time.
    flags : int64 (7,)
        T, delayed, proactive, kind of noise (0 none, 1 given, 2 made), record every, learn,
        second order.
    noise : (T - 1, S, sum n_i) or empty
    p : the rule's parameters
    dW, db : flat
        Sums over samples and time: of the rule's products, one after the other; of its
        postsynaptic factors.
    end : 7 flat arrays
        u, and x, basal, apical blocks of the last state; x, basal, apical summed over the stored
        states, or empty arrays; filled.
    trace : 5 arrays (stored states, S, .) for u, x, basal, apical, dr; or empty.
    trouble : int64 (2,)
        Layer (1..L) and step at which the bound was passed, else (0, 0).
    """
    depth, S, n_L = codes.size, sample.size, sizes[-1]
    T, proactive, every, learn, second = flags[0], flags[2], flags[4], flags[5], flags[6]
    bound = constants[7]
    first, w_first = offsets(sizes)
    total, most = first[depth], widest(sizes)
    from_input = reads_input(depth, skips)
    F = W.dtype

    u, x, basal, apical = end[:4]
    dr = np.zeros(S * total, F)
    u_int = np.zeros(S * n_L, F)
    u_next = np.zeros(S * n_L, F)
    drive = np.zeros(S * most, F)
    dp = np.zeros(S * most, F)
    rate = np.zeros(S * most, F)
    words = np.empty((2, most if flags[3] == 2 else 0), np.uint32)
    normals = np.empty((3, most if flags[3] == 2 else 0), np.float32)

    error, before, ahead, used = (u.copy(), u.copy(), u.copy(), u.copy())
    held_input = np.zeros(S * total if second else 0, F)
    to_new = constants[9] / constants[4]
    if second:
        for i in range(e0.size):
            error[i] = e0[i]
            before[i] = e0[i]
            u[i] = constants[2] * e0[i]
        if constants[4] == 1.0:
            for i in range(depth):
                lo, hi = S * first[i], S * first[i + 1]
                multiply(u, Q[n_L * first[i]:n_L * first[i + 1]], apical[lo:hi], S, n_L,
                         sizes[i + 1])
            assign(held_input, apical)

    chunk = NARROW_CHUNK if FEEDBACK else CHUNK
    rows = chunk * S if learn else 0
    post = np.empty(POST_SLOTS * rows * total, F)
    pre = np.empty(PRE_SLOTS * rows * (n_L if FEEDBACK else total), F)
    summed = 0 if not learn or FEEDBACK else total if from_input[1:].any() else sizes[1]
    input_sum = np.zeros(POST_SLOTS * S * summed, F)
    scratch = np.empty(max(most * max(most, sizes[0]), 1) if learn else 0, F)
    terms, sums = PRODUCTS, np.array(SUMS)
    slots = (POST_SLOTS, PRE_SLOTS)
    held = 0

    for t in range(T):
        # t is the state at hand; the step to t + 1 follows its bookkeeping
        last = t == T - 1
        if second and not last:
            control_ahead(error, before, ahead, u, u_int, u_next, constants[0], constants[1],
                          constants[2], constants[10])
            for i in range(u.size):
                used[i] = u[i] + to_new * (u_next[i] - u[i])
        elif not last:
            control_step(e0, dr[S * first[depth - 1]:], u, u_int, u_next, constants[0],
                         constants[1], constants[2])
        if every > 0 and t % every == 0:
            store(sizes, first, S, t // every, u, x, basal, apical, dr, trace)
        weight = 1.0
        if second and not FEEDBACK:
            weight = 1.5 if last else (0.5 if t == 0 else 1.0)
        add_states(x, basal, apical, end[4:], weight)
        if learn and not (FEEDBACK and last):
            collect(sizes, first, S, held, rows, codes, v0, r0, gain0, x, basal, apical, dr, dp,
                    rate, u, u_next, p, post, pre)
            if weight != 1.0:
                weigh(sizes, first, S, held, rows, POST_SLOTS, post, weight)
            held += 1
        if held == chunk or (held > 0 and last):
            flush(sizes, first, w_first, skips, from_input, S, held, rows, slots, terms, sums,
                  FEEDBACK, W.size, post, pre, input_sum, scratch, dW, db)
            held = 0
        if last:
            break
        reads = used if second else (u_next if proactive else u)
        network_step(sizes, first, w_first, skips, codes, W, Q, v0, r0, reads, x, basal, apical, dr,
                     held_input, drive, constants, flags, noise, t, seed, sample, words, normals)
        if second:
            settle(sizes, first, codes, Q, corrector, v0, r0, e0, x, apical, dr, held_input, error,
                   ahead, u_int, u_next, drive, constants)
        assign(u, u_next)
        if bound > 0 and (every > 0 or t % CHUNK == CHUNK - 1 or t == T - 2):
            for i in range(depth):
                if not largest(x[S * first[i]:S * first[i + 1]]) <= bound:
                    trouble[0], trouble[1] = i + 1, t + 1
                    return

    if learn and not FEEDBACK:  # the input is constant: one product for all time
        m = sizes[0]
        factors = np.empty(PRE_SLOTS * S * m, F)
        pre_factors(x0, x0, x0, p, factors, S * m)
        add_input(sizes, first, 0, 0, W.size, S, POST_SLOTS, terms, input_sum, factors, scratch, dW)
        for s in range(skips.shape[0]):
            if skips[s, 1] == 0:
                add_input(sizes, first, skips[s, 0], skips[s, 2], W.size, S, POST_SLOTS, terms,
                          input_sum, factors, scratch, dW)
