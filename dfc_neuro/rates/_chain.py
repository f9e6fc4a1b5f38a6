"""The linearised control loop alone, stepped exactly: the control and its filters.

Linearised at the feedforward point, layer i acts on the output through M_i = J_i Q_i and as many
somatic low-pass filters as there are layers from i to the output.  So the state of a sample is
n_L (L + 3) numbers, whatever the widths of the layers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dfc_neuro.rates._elementwise import options

LANES = 8  # rows of M are padded to a multiple of this


@njit(**options)
def chain(M, e0, constants, steps, delayed, proactive, f, u, u_int, u_slow, error):
    """Step the loop of each sample to the last stored state.

    Parameters
    ----------
    M : (B, L, n_L, P)
        Transposes of M_i: ``M[b, i, c, r]`` acts from control c on output r; padded with zeros.
    e0 : (B, P)
        Output target minus feedforward output.
    constants : (5,)
        dt, alpha, k_p, k (soma), k_A (apical compartment).
    f : (B, L, P)
        ``f[b, j]``: the apically filtered control after j + 1 somatic filters; filled.
    u, u_int, u_slow, error : (B, P)
        Control, its integral part, the apically filtered control, and e = r_L* - r_L; filled.
    """
    dt, alpha, k_p, k, k_A = constants
    B, L, n, P = M.shape
    u_next = np.empty(P)
    for b in range(B):
        f_b, u_b, int_b, slow_b, e_b = f[b], u[b], u_int[b], u_slow[b], error[b]
        f_b[:] = 0.0
        u_b[:] = 0.0
        int_b[:] = 0.0
        slow_b[:] = 0.0
        e_b[:] = e0[b]
        for _ in range(steps - 1):
            for r in range(P):
                int_b[r] += dt * (e_b[r] - alpha * u_b[r])
                u_next[r] = int_b[r] + k_p * e_b[r]
                used = u_next[r] if proactive else u_b[r]
                slow_b[r] += k_A * (used - slow_b[r])
                u_b[r] = u_next[r]
                e_b[r] = e0[b, r]
            if delayed:
                for j in range(L - 1, 0, -1):
                    for r in range(P):
                        f_b[j, r] += k * (f_b[j - 1, r] - f_b[j, r])
                for r in range(P):
                    f_b[0, r] += k * (slow_b[r] - f_b[0, r])
            else:
                for r in range(P):
                    f_b[0, r] += k * (slow_b[r] - f_b[0, r])
                for j in range(1, L):
                    for r in range(P):
                        f_b[j, r] += k * (f_b[j - 1, r] - f_b[j, r])
            for i in range(L):
                through = f_b[L - 1 - i]
                for c in range(n):
                    column = M[b, i, c]
                    strength = through[c]
                    for r in range(P):
                        e_b[r] -= column[r] * strength
