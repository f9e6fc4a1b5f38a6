"""The linearised control loop alone, stepped exactly: the control and its filters.

Linearised at the feedforward point, layer i acts on the output through M_i = J_i Q_i and as many
somatic low-pass filters as there are layers from i to the output.  So the state of a sample is
n_L (L + 3) numbers, whatever the widths of the layers.

Samples stand side by side in lanes, and n is n_L rounded up to a multiple of ROWS
(:mod:`dfc_neuro.rates._lanes`); what is added is zero and stays so.  In float32 the loop corrects
its own rounding: the error e is summed until it balances the leak.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dfc_neuro.rates._elementwise import options
from dfc_neuro.rates._lanes import ROWS, lanes, subtract_rows, zeros

Array = np.ndarray


def packed(M: list[Array]) -> Array:
    """Return matrices M_i (B, n_L, n_L) as the chain reads them: (groups, n/ROWS, L n, ROWS, lanes)

    M_1, ..., M_L stand side by side, ROWS rows of all lanes at a time, column by column.
    """
    (B, n_L, _), wide = M[0].shape, lanes(M[0].dtype)
    groups, blocks = -(-B // wide), -(-n_L // ROWS)
    n = blocks * ROWS
    padded = np.zeros((groups * wide, len(M), n, n), M[0].dtype)
    for i, part in enumerate(M):
        padded[:B, i, :n_L, :n_L] = part
    out = zeros((groups, blocks, len(M) * n, ROWS, wide), padded.dtype)
    out.reshape(groups, blocks, len(M), n, ROWS, wide)[:] = padded.reshape(
        groups, wide, len(M), blocks, ROWS, n).transpose(0, 3, 2, 5, 4, 1)
    return out


def to_lanes(a: Array) -> Array:
    """Return (B, n_L) as (groups, n, lanes)."""
    (B, n_L), wide = a.shape, lanes(a.dtype)
    groups, n = -(-B // wide), -(-n_L // ROWS) * ROWS
    padded = np.zeros((groups * wide, n), a.dtype)
    padded[:B, :n_L] = a
    out = zeros((groups, n, wide), a.dtype)
    out[:] = padded.reshape(groups, wide, n).transpose(0, 2, 1)
    return out


def from_lanes(a: Array, B: int, n_L: int) -> Array:
    """Return (groups, n, lanes) as (B, n_L)."""
    return a.transpose(0, 2, 1).reshape(-1, a.shape[1])[:B, :n_L]


@njit(**options)
def chain(M, e0, constants, steps, delayed, proactive, g, u, u_int, u_slow, error, hidden, total,
          square):
    """Step the loop of each sample to the last stored state.

    Parameters
    ----------
    M : (groups, n/ROWS, L * n, ROWS, lanes)
        See :func:`packed`.
    e0 : (groups, n, lanes)
        Output target minus feedforward output.
    constants : (5,)
        dt, alpha, k_p, k (soma), k_A (apical compartment).
    g : (groups, L * n, lanes)
        For each layer the apically filtered control after its somatic filters; filled.
    u, u_int, u_slow, error : (groups, n, lanes)
        Control, its integral part, the apically filtered control, and e = r_L* - r_L; filled.
    hidden : (groups, n, lanes)
        Minus the sum over hidden layers of J_i x_i at the end: of what all layers up to i do to
        the output through layer i; filled.
    total, square : (groups, n, lanes)
        Sums over time of the last layer's filtered control and of its square; filled.
    """
    dt, alpha, k_p, k, k_A = constants
    zero = e0.dtype.type(0.0)
    groups, blocks, width, _, wide = M.shape
    size = e0.shape[1] * wide
    depth = width * wide // size
    stride = width * ROWS * wide
    for b in range(groups):
        M_b, g_b, start = M[b].reshape(-1), g[b].reshape(-1), e0[b].reshape(-1)
        u_b, int_b, slow_b = u[b].reshape(-1), u_int[b].reshape(-1), u_slow[b].reshape(-1)
        e_b, total_b, square_b = error[b].reshape(-1), total[b].reshape(-1), square[b].reshape(-1)
        for part in (u_b, int_b, slow_b, total_b, square_b, g_b):
            part[:] = zero
        e_b[:] = start
        top = g_b[(depth - 1) * size:]
        for _ in range(steps - 1):
            for r in range(size):
                old = u_b[r]
                int_b[r] += dt * (e_b[r] - alpha * old)
                u_b[r] = int_b[r] + k_p * e_b[r]
                slow_b[r] += k_A * ((u_b[r] if proactive else old) - slow_b[r])
                e_b[r] = start[r]
            for step in range(depth):
                i = step if delayed else depth - 1 - step
                here = g_b[i * size:(i + 1) * size]
                above = slow_b if i == depth - 1 else g_b[(i + 1) * size:(i + 2) * size]
                for r in range(size):
                    here[r] += k * (above[r] - here[r])
            for r in range(size):
                total_b[r] += top[r]
                square_b[r] += top[r] * top[r]
            for q in range(blocks):
                subtract_rows(M_b, q * stride, g_b, 0, width, e_b, q * ROWS * wide)
        hidden_b = hidden[b].reshape(-1)
        hidden_b[:] = zero
        for i in range(1, depth):
            for q in range(blocks):
                subtract_rows(M_b, q * stride, g_b, (depth - i) * size, i * (size // wide),
                              hidden_b, q * ROWS * wide)
