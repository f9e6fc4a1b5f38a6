"""The linearised control loop alone, stepped exactly: the control and its filters.

Linearised at the feedforward point, layer i acts on the output through M_i = J_i Q_i and as many
somatic low-pass filters as there are layers from i to the output.  So the state of a sample is
n_L (L + 3) numbers, whatever the widths of the layers.
"""

from __future__ import annotations

from numba import njit

from dfc_neuro.rates._elementwise import options


@njit(**options)
def _subtract(start, M, g, out):
    """out = start - M g; two rows at a time, which hides the latency of the sums."""
    n, width = M.shape
    r = 0
    while r < n:
        pair = r + 1 < n
        upper, lower = M[r], M[r + 1 if pair else r]
        one, two = 0.0, 0.0
        for j in range(width):
            one += upper[j] * g[j]
            two += lower[j] * g[j]
        out[r] = start[r] - one
        if pair:
            out[r + 1] = start[r + 1] - two
        r += 2


@njit(**options)
def chain(M, e0, constants, steps, delayed, proactive, g, u, u_int, u_slow, error, total, square):
    """Step the loop of each sample to the last stored state.

    Parameters
    ----------
    M : (B, n_L, L * n_L)
        M_1, ..., M_L side by side.
    e0 : (B, n_L)
        Output target minus feedforward output.
    constants : (5,)
        dt, alpha, k_p, k (soma), k_A (apical compartment).
    g : (B, L * n_L)
        For each layer the apically filtered control after its somatic filters; filled.
    u, u_int, u_slow, error : (B, n_L)
        Control, its integral part, the apically filtered control, and e = r_L* - r_L; filled.
    total, square : (B, n_L)
        Sums over time of the last layer's filtered control and of its square; filled.
    """
    dt, alpha, k_p, k, k_A = constants
    B, n, width = M.shape
    top = width - n
    for b in range(B):
        g_b, u_b, int_b, slow_b, e_b = g[b], u[b], u_int[b], u_slow[b], error[b]
        M_b = M[b]
        g_b[:] = 0.0
        u_b[:] = 0.0
        int_b[:] = 0.0
        slow_b[:] = 0.0
        e_b[:] = e0[b]
        total[b] = 0.0
        square[b] = 0.0
        for _ in range(steps - 1):
            for r in range(n):
                old = u_b[r]
                int_b[r] += dt * (e_b[r] - alpha * old)
                u_b[r] = int_b[r] + k_p * e_b[r]
                slow_b[r] += k_A * ((u_b[r] if proactive else old) - slow_b[r])
            if delayed:
                for j in range(top):
                    g_b[j] += k * (g_b[j + n] - g_b[j])
                for r in range(n):
                    g_b[top + r] += k * (slow_b[r] - g_b[top + r])
            else:
                for r in range(n):
                    g_b[top + r] += k * (slow_b[r] - g_b[top + r])
                for j in range(top - 1, -1, -1):
                    g_b[j] += k * (g_b[j + n] - g_b[j])
            _subtract(e0[b], M_b, g_b, e_b)
            for r in range(n):
                total[b, r] += g_b[top + r]
                square[b, r] += g_b[top + r] ** 2
