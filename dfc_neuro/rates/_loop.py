"""One lag of the filters of the feedback loop, for :func:`dfc_neuro.rates.loop.recursion`."""

from __future__ import annotations

from dfc_neuro.kernels._njit import njit
from dfc_neuro.rates._elementwise import options


@njit(**options)
def advance(R, before, total, apical, Z, V, C, constants, weight, proactive, delayed):
    """Take the filters from one lag to the next.

    Parameters
    ----------
    R, before : (B, m)
        Loop response at this lag and at the one before; `before` becomes R.
    total, apical : (B, m)
        The controller's and the apical compartment's response.
    Z, V : (B, L, m)
        The somata's response, the output layer first, and that through the apical compartment.
    C : (B, L, m)
        Grows by `weight` times Z, of this lag if proactive and else of the next.
    constants : (7,)
        1 - alpha dt, dt + k_p, k_p, 1 - k_A, k_A, 1 - k, k; in the arrays' precision.
    """
    leak, gain, k_p, lam, k_A, keep, k = constants
    B, L, m = Z.shape
    for b in range(B):
        for d in range(L):
            z, v, c = Z[b, d], V[b, d], C[b, d]
            for j in range(m):
                v[j] = lam * v[j] + k_A * z[j]
            if proactive:
                for j in range(m):
                    c[j] += weight * z[j]
        for j in range(m):
            old = total[b, j]
            new = leak * old + gain * R[b, j] - k_p * before[b, j]
            before[b, j] = R[b, j]
            total[b, j] = new
            apical[b, j] = lam * apical[b, j] + k_A * (new if proactive else old)
        for step in range(L):
            d = L - 1 - step if delayed else step
            z, source = Z[b, d], Z[b, d - 1] if d > 0 else apical[b]
            for j in range(m):
                z[j] = keep * z[j] + k * source[j]
        if not proactive:
            for d in range(L):
                z, c = Z[b, d], C[b, d]
                for j in range(m):
                    c[j] += weight * z[j]
