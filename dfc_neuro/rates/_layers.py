"""Passes through the layers of a network, of the samples lo..hi-1 of a minibatch of B.

A state of the minibatch is flat: layer i (from 0) lies at ``B * first[i]`` as (B, n_i), Q_i at
``n_L * first[i]`` as (n_i, n_L).  A row of ``places`` is a projection: its layer i, the number j
of the rates r_j that it reads, and where in W its weights (n_i, n_j) begin.
"""

from __future__ import annotations

import numpy as np

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._blocks import add, multiply, offsets
from dfc_neuro.rates._elementwise import deviation, inner, options, phi, scale_rows, slope

JACOBIAN = 640  # rows of Jacobians that are held at a time


@njit(**options)
def of_layer(state, first, i, B, lo, hi):
    """Return the samples lo..hi-1 of layer i of a state."""
    n = first[i + 1] - first[i]
    return state[B * first[i] + lo * n:B * first[i] + hi * n]


@njit(**options)
def drive(sizes, first, places, i, W, inputs, rates, B, lo, hi, out):
    """Write to out the sum over projections to layer i of W times what they read.

    `inputs` are the samples of r_0, or empty where it is nil; `rates` a state.
    """
    S, n, begun = hi - lo, sizes[i + 1], False
    for k in range(places.shape[0]):
        j, at = places[k, 1], places[k, 2]
        if places[k, 0] == i and (j > 0 or inputs.size > 0):
            below = of_layer(rates, first, j - 1, B, lo, hi) if j else inputs
            w = W[at:at + n * sizes[j]]
            if begun:
                more = np.empty(S * n, W.dtype)
                multiply(below, w, more, S, sizes[j], n)
                add(out, more)
            else:
                multiply(below, w, out, S, sizes[j], n)
            begun = True
    if not begun:
        out[:] = W.dtype.type(0.0)


@njit(**options)
def forward(sizes, codes, places, W, b, inputs, v, r, lo, hi):
    """v_i = W_i r_{i-1} + b_i, r_i = phi_i(v_i); v and r are states, inputs (B, n_0)."""
    first, _ = offsets(sizes)
    S, B = hi - lo, inputs.size // sizes[0]
    for i in range(codes.size):
        n, here = sizes[i + 1], of_layer(v, first, i, B, lo, hi)
        drive(sizes, first, places, i, W, inputs[lo * sizes[0]:hi * sizes[0]], r, B, lo, hi, here)
        for s in range(S):
            add(here[s * n:(s + 1) * n], b[first[i]:first[i + 1]])
        phi(codes[i], here, of_layer(r, first, i, B, lo, hi))


@njit(**options)
def slopes(codes, first, v, r, lo, hi):
    """Return the state phi_i'(v_i) of the samples lo..hi-1, for states v and r."""
    S, B = hi - lo, v.size // first[-1]
    found = np.empty(S * first[-1], v.dtype)
    for i in range(codes.size):
        slope(codes[i], of_layer(v, first, i, B, lo, hi), of_layer(r, first, i, B, lo, hi),
              of_layer(found, first, i, S, 0, S))
    return found


@njit(**inner)
def _through_output(slope, W, S, n_L, n, J):
    """J (S, n_L, n) = diag(slope) W for slopes (S, n_L) of the output layer."""
    for s in range(S):
        for a in range(n_L):
            here, w = J[(s * n_L + a) * n:(s * n_L + a + 1) * n], W[a * n:(a + 1) * n]
            gain = slope[s * n_L + a]
            for j in range(n):
                here[j] = gain * w[j]


@njit(**options)
def layer_gains(sizes, places, W, Q, slopes):
    """Return M_i = J_i Q_i of S samples, (L, S, n_L, n_L) flat, and the J_i of hidden layers.

    From the output down J_i = sum_k J_k W_ki diag(slope_i), over the layers k that read r_i;
    `slopes` is their state phi_i'(v_i^-).  J_i lies at ``S * n_L * first[i]`` as (S, n_L, n_i).
    """
    first, _ = offsets(sizes)
    depth, n_L, S = sizes.size - 1, sizes[-1], slopes.size // first[-1]
    size, top = S * n_L, of_layer(slopes, first, depth - 1, S, 0, S)
    M = np.empty(depth * size * n_L, W.dtype)
    J = np.empty(size * first[depth - 1], W.dtype)
    for i in range(depth - 2, -1, -1):
        n, begun = sizes[i + 1], False
        here = J[size * first[i]:size * first[i + 1]]
        for k in range(places.shape[0]):
            if places[k, 1] == i + 1:
                m, above = sizes[places[k, 0] + 1], places[k, 0]
                w = W[places[k, 2]:places[k, 2] + m * n]
                part = np.empty(size * n, W.dtype) if begun else here
                if above == depth - 1:
                    _through_output(top, w, S, n_L, n, part)
                else:
                    np.dot(J[size * first[above]:size * first[above + 1]].reshape(size, m),
                           w.reshape(m, n), part.reshape(size, n))
                if begun:
                    add(here, part)
                begun = True
        scale_rows(here, of_layer(slopes, first, i, S, 0, S), S, n_L, n)
        np.dot(here.reshape(size, n), Q[n_L * first[i]:n_L * first[i + 1]].reshape(n, n_L),
               M[i * size * n_L:(i + 1) * size * n_L].reshape(size, n_L))
    _through_output(top, Q[n_L * first[depth - 1]:], S, n_L, n_L, M[(depth - 1) * size * n_L:])
    return M, J


@njit(**inner)
def add_gains(M, alpha, gain):
    """Fill gain (S, n_L, n_L), float64, with sum_i M_i + alpha I."""
    (S, n_L, _), size = gain.shape, gain.size
    for s in range(S):
        for a in range(n_L):
            for b in range(n_L):
                total, at = alpha if a == b else 0.0, (s * n_L + a) * n_L + b
                for i in range(M.size // size):
                    total += M[i * size + at]
                gain[s, a, b] = total


@njit(**options)
def total_gain(sizes, codes, places, W, Q, v, r, alpha, lo, hi, gain):
    """Fill gain (hi - lo, n_L, n_L), float64, with J Q + alpha I, some samples at a time."""
    first, _ = offsets(sizes)
    step = max(1, JACOBIAN // sizes[-1])
    for at in range(lo, hi, step):
        end = min(at + step, hi)
        M, _ = layer_gains(sizes, places, W, Q, slopes(codes, first, v, r, at, end))
        add_gains(M, alpha, gain[at - lo:end - lo])


@njit(**options)
def sweep(sizes, codes, places, W, Q, v, r, control, shift, late, apical, x, basal, dr, lo, hi):
    """Run forward under a constant control: x_i = Q_i u + shift_i + W_i (dr_{i-1} - late_{i-1}).

    Parameters
    ----------
    v, r, shift, late : states
        The feedforward state; what else moves the somata; what the layer above does not see of
        dr_i.  The last two may be empty.
    control : (hi - lo, n_L) flat
        Control of the samples lo..hi-1.
    apical, x, basal, dr : states
        Q_i u; deviations of soma, basal compartment and rate; filled.
    """
    first, _ = offsets(sizes)
    depth, n_L, S, B = codes.size, sizes[-1], hi - lo, x.size // first[-1]
    seen, none = np.empty(S * first[depth] if late.size else 0, W.dtype), W[:0]
    for i in range(depth):
        up, here = of_layer(apical, first, i, B, lo, hi), of_layer(x, first, i, B, lo, hi)
        under, change = of_layer(basal, first, i, B, lo, hi), of_layer(dr, first, i, B, lo, hi)
        multiply(control, Q[n_L * first[i]:n_L * first[i + 1]], up, S, n_L, sizes[i + 1])
        if late.size:
            drive(sizes, first, places, i, W, none, seen, S, 0, S, under)
        else:
            drive(sizes, first, places, i, W, none, dr, B, lo, hi, under)
        for q in range(here.size):
            here[q] = up[q] + under[q]
        if shift.size:
            add(here, of_layer(shift, first, i, B, lo, hi))
        deviation(codes[i], of_layer(v, first, i, B, lo, hi), of_layer(r, first, i, B, lo, hi),
                  here, change)
        if late.size:
            behind, read = of_layer(late, first, i, B, lo, hi), of_layer(seen, first, i, S, 0, S)
            for q in range(read.size):
                read[q] = change[q] - behind[q]
