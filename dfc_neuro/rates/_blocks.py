"""What every rule's kernel shares: one step of the network, and sums of outer products.

Blocks of S samples are flat: layer i (from 0) of a block lies at ``S * first[i]`` as (S, n_i);
W_i at ``w_first[i]`` as (n_i, n_{i-1}), Q_i at ``n_L * first[i]`` as (n_i, n_L).  A row of
``skips`` is a skip projection: its layer (from 0), the number j of the rates r_j that it reads,
and where its weights (n_i, n_j) lie.
"""

from __future__ import annotations

import numpy as np

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._elementwise import (
    advance,
    advance_linearly,
    control_corrected,
    deviation,
    options,
    relax,
)
from dfc_neuro.rates._noise import add_normals

CHUNK = 8  # time steps whose outer products become one matrix product
NARROW_CHUNK = 4  # the same where one side is the control: BLAS is three times as fast on so few


@njit(**options)
def offsets(sizes):
    """Return where layers and weights begin: (L + 1,) each."""
    depth = sizes.size - 1
    first = np.zeros(depth + 1, np.int64)
    w_first = np.zeros(depth + 1, np.int64)
    for i in range(depth):
        first[i + 1] = first[i] + sizes[i + 1]
        w_first[i + 1] = w_first[i] + sizes[i + 1] * sizes[i]
    return first, w_first


@njit(**options)
def widest(sizes):
    """Return the largest of n_1..n_L; ``sizes[1:].max()`` would compile for a second."""
    found = sizes[1]
    for n in sizes[1:]:
        found = max(found, n)
    return found


@njit(**options)
def reads_input(depth, skips):
    """Return whether each layer reads the input, (L,)."""
    found = np.zeros(depth, np.bool_)
    found[0] = True
    for s in range(skips.shape[0]):
        if skips[s, 1] == 0:
            found[skips[s, 0]] = True
    return found


@njit(**options)
def multiply(left, matrix, out, S, m, n):
    """out (S, n) = left (S, m) times the transpose of matrix (n, m); all flat."""
    np.dot(left.reshape(S, m), matrix.reshape(n, m).T, out.reshape(S, n))


@njit(**options)
def add(out, a):
    """out += a; takes slices, for Numba does not vectorise loops over a[first + i]."""
    for i in range(a.size):
        out[i] += a[i]


@njit(**options)
def add_outer(left, right, rows, n, m, scratch, out):
    """out (n, m) += transpose of left (rows, n) times right (rows, m); all flat."""
    product = scratch[:n * m]
    np.dot(left[:rows * n].reshape(rows, n).T, right[:rows * m].reshape(rows, m),
           product.reshape(n, m))
    add(out, product)


@njit(**options)
def add_noise(out, units, scale, kind, noise, t, first, seed, sample, words, normals):
    """Add apical noise of one layer: given draws (kind 1) or made ones (kind 2)."""
    if kind == 1:
        for row in range(sample.size):
            for j in range(units):
                out[row * units + j] += scale * noise[t, row, first + j]
    elif scale != 0.0:
        add_normals(out, units, scale, seed, sample, t, first, words, normals)


@njit(**options)
def network_step(sizes, first, w_first, skips, codes, W, Q, v0, r0, used, x, basal, apical, dr,
                 held, drive, constants, flags, noise, t, seed, sample, words, normals):
    """Advance every layer by one step: ascending with instant transmission, else descending."""
    depth, S, n_L = codes.size, sample.size, sizes[-1]
    k, k_A = constants[3], constants[4]
    delayed, kind, second = flags[1], flags[3], flags[6]
    for step in range(depth):
        i = depth - 1 - step if delayed else step
        lo, hi, n = S * first[i], S * first[i + 1], sizes[i + 1]
        here = apical[lo:hi]
        if k_A == 1.0:
            multiply(used, Q[n_L * first[i]:n_L * first[i + 1]], here, S, n_L, n)
        else:
            multiply(used, Q[n_L * first[i]:n_L * first[i + 1]], drive[:S * n], S, n_L, n)
            relax(here, drive[:S * n], k_A)
        if kind > 0:
            scale = constants[6] if i == depth - 1 else constants[5]
            add_noise(here, n, scale, kind, noise, t, first[i], seed, sample, words, normals)
        if i > 0:
            multiply(dr[S * first[i - 1]:lo], W[w_first[i]:w_first[i + 1]], basal[lo:hi],
                     S, sizes[i], n)
        for s in range(skips.shape[0]):
            j, at = skips[s, 1], skips[s, 2]
            if skips[s, 0] == i and j > 0:  # the input does not deviate
                multiply(dr[S * first[j - 1]:S * first[j]], W[at:at + n * sizes[j]],
                         drive[:S * n], S, sizes[j], n)
                add(basal[lo:hi], drive[:S * n])
        if second:
            advance_linearly(x[lo:hi], here, basal[lo:hi], held[lo:hi], k, constants[8])
        else:
            advance(x[lo:hi], here, basal[lo:hi], k)
        deviation(codes[i], v0[lo:hi], r0[lo:hi], x[lo:hi], dr[lo:hi])


@njit(**options)
def settle(sizes, first, codes, Q, corrector, v0, r0, e0, x, apical, dr, held, error, ahead, u_int,
           u_next, drive, constants):
    """End a step of second order: the output layer meets the control of its own new error.

    The layer was advanced under the control of the extrapolated error `ahead`.  With Q_L in one
    step of the loop it is stiff, so the difference is solved for: x += G (e - ahead),
    G = (I + g Q_L)^-1 g Q_L, exact for a linear output layer.
    """
    depth, n_L = codes.size, sizes[-1]
    lo = x.size // first[depth] * first[depth - 1]
    here, out, S = x[lo:], dr[lo:], (x.size - lo) // n_L
    for i in range(error.size):
        error[i] = e0[i] - out[i] - ahead[i]
    multiply(error, corrector, drive[:S * n_L], S, n_L, n_L)
    for i in range(error.size):
        here[i] += drive[i]
    deviation(codes[depth - 1], v0[lo:], r0[lo:], here, out)
    control_corrected(e0, out, error, u_int, u_next, constants[2], constants[10])
    share = constants[9] * constants[10]
    for i in range(error.size):
        ahead[i] = share * (error[i] - ahead[i])
    multiply(ahead, Q[n_L * first[depth - 1]:], drive[:S * n_L], S, n_L, n_L)
    add(apical[lo:], drive[:S * n_L])
    add(held[lo:], drive[:S * n_L])


@njit(**options)
def store(sizes, first, S, at, u, x, basal, apical, dr, trace):
    """Copy one state to the trace: arrays (stored states, S, .) for u, x, basal, apical, dr."""
    trace[0][at] = u.reshape(S, sizes[-1])
    for i in range(sizes.size - 1):
        lo, n = S * first[i], sizes[i + 1]
        for row in range(S):
            for j in range(n):
                f, g = lo + row * n + j, first[i] + j
                trace[1][at, row, g] = x[f]
                trace[2][at, row, g] = basal[f]
                trace[3][at, row, g] = apical[f]
                trace[4][at, row, g] = dr[f]


@njit(**options)
def add_states(x, basal, apical, sums, weight):
    """Add one state to weighted sums over time, three arrays; or to none where they are empty."""
    share = x.dtype.type(weight)
    for f in range(sums[0].size):
        sums[0][f] += share * x[f]
        sums[1][f] += share * basal[f]
        sums[2][f] += share * apical[f]


@njit(**options)
def weigh(sizes, first, S, held, rows, count, post, weight):
    """Scale the `count` postsynaptic factors of the state at `held`."""
    for i in range(sizes.size - 1):
        n = sizes[i + 1]
        for a in range(count):
            at = (count * rows * first[i]) + a * rows * n + held * S * n
            here = post[at:at + S * n]
            for j in range(S * n):
                here[j] *= post.dtype.type(weight)


@njit(**options)
def flush(sizes, first, w_first, skips, from_input, S, held, rows, slots, terms, sums, feedback,
          w_size, post, pre, input_sum, scratch, dW, db):
    """Add the products of `held` states to the sums over time."""
    depth, n_L, filled = sizes.size - 1, sizes[-1], held * S
    size = n_L * first[depth] if feedback else w_size
    for i in range(depth):
        n = sizes[i + 1]
        base = slots[0] * rows * first[i]
        for a in range(slots[0]):
            factor = post[base + a * rows * n:base + (a + 1) * rows * n]
            if sums[a]:
                total = db[a * first[depth] + first[i]:a * first[depth] + first[i + 1]]
                for row in range(filled):
                    add(total, factor[row * n:(row + 1) * n])
            if from_input[i] and not feedback:  # that is constant: its product comes at the end
                at = slots[0] * S * first[i] + a * S * n
                total = input_sum[at:at + S * n]
                for h in range(held):
                    add(total, factor[h * S * n:(h + 1) * S * n])
        if i == 0 and not feedback:
            continue
        m = n_L if feedback else sizes[i]
        out_first = n_L * first[i] if feedback else w_first[i]
        below = 0 if feedback else slots[1] * rows * first[i - 1]
        for j in range(terms.shape[0]):
            at = terms[j, 0] * size + out_first
            add_outer(post[base + terms[j, 1] * rows * n:], pre[below + terms[j, 2] * rows * m:],
                      filled, n, m, scratch, dW[at:at + n * m])
    for s in range(0 if feedback else skips.shape[0]):
        i, source = skips[s, 0], skips[s, 1]
        if source > 0:
            n, m = sizes[i + 1], sizes[source]
            base, below = slots[0] * rows * first[i], slots[1] * rows * first[source - 1]
            for j in range(terms.shape[0]):
                at = terms[j, 0] * size + skips[s, 2]
                add_outer(post[base + terms[j, 1] * rows * n:],
                          pre[below + terms[j, 2] * rows * m:], filled, n, m, scratch,
                          dW[at:at + n * m])


@njit(**options)
def add_input(sizes, first, i, w_at, w_size, S, count, terms, input_sum, factors, scratch, dW):
    """Add the products of layer i and the input, whose weights begin at `w_at`, over all time."""
    n, m = sizes[i + 1], sizes[0]
    base = count * S * first[i]
    for j in range(terms.shape[0]):
        at = terms[j, 0] * w_size + w_at
        add_outer(input_sum[base + terms[j, 1] * S * n:], factors[terms[j, 2] * S * m:], S, n, m,
                  scratch, dW[at:at + n * m])


@njit(**options)
def predicted(first, codes, v, r, basal, starts, ends, dp):
    """Fill dp, what basal compartments alone would do to the rates, for some units of each layer.

    v, r, basal and dp are states of :mod:`dfc_neuro.rates._layers`.
    """
    B = v.size // first[-1]
    for i in range(codes.size):
        lo = B * first[i] + starts[i]
        for _ in range(B):
            hi = lo + ends[i] - starts[i]
            deviation(codes[i], v[lo:hi], r[lo:hi], basal[lo:hi], dp[lo:hi])
            lo += first[i + 1] - first[i]


@njit(**options)
def products(sizes, places, terms, summed, starts, ends, post, pre, inputs, dW, db):
    """Fill means over samples of the products of a rule's factors, for some units of each layer.

    Parameters
    ----------
    places : int64 (K, 3)
        See :mod:`dfc_neuro.rates._layers`.
    terms : int64 (N, 3)
        (c, a, b): post[a] * pre[b] is added to sum number c.
    summed : bool (slots,)
        Which postsynaptic factors are wanted by themselves.
    starts, ends : int64 (L,)
        Units starts[i]..ends[i]-1 of layer i.
    post : flat
        (slots, B, units) of each layer; scaled in place.
    pre, inputs : (slots, B * sum of n_i), (slots, B * n_0)
        Presynaptic factors of the layers, (B, n_i) one after the other, and of the input.
    dW, db : (sums, size of W), (slots, sum of n_i)
        Of db only what is wanted; filled.
    """
    first, _ = offsets(sizes)
    B, at = inputs.shape[1] // sizes[0], 0
    share = post.dtype.type(1.0 / B)
    for k in range(post.size):
        post[k] *= share
    for i in range(starts.size):
        n = ends[i] - starts[i]
        for a in range(summed.size if n else 0):
            total = db[a, first[i] + starts[i]:first[i] + ends[i]]
            for row in range(B if summed[a] else 0):
                add(total, post[at + (a * B + row) * n:at + (a * B + row + 1) * n])
        for k in range(places.shape[0]):
            j, m = places[k, 1], sizes[places[k, 1]]
            begun = np.zeros(dW.shape[0], np.bool_)
            for t in range(terms.shape[0] if places[k, 0] == i and n else 0):
                c, a, b = terms[t]
                left = post[at + a * B * n:at + (a + 1) * B * n].reshape(B, n)
                right = pre[b, B * first[j - 1]:B * first[j]] if j else inputs[b]
                out = dW[c, places[k, 2] + starts[i] * m:places[k, 2] + ends[i] * m]
                part = np.empty(n * m, dW.dtype) if begun[c] else out
                np.dot(left.T, right.reshape(B, m), part.reshape(n, m))
                if begun[c]:
                    add(out, part)
                begun[c] = True
        at += summed.size * B * n
