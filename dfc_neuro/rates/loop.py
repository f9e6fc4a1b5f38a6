"""Second moments of the linearised feedback loop under noise, for one minibatch.

With the network's own output as target, and linear around the feedforward point, the noise eta_i of
the apical compartments makes the control

    u = -R sum_i rho_i ell_i J_i eta_i,    R = (1 + sum_j ell_j M_j)^-1,    M_j = J_j Q_j,

products being convolutions over time.  The scalar ell_i is the open loop's response: controller,
apical compartment, and the somata from layer i to the output; rho_i = s_i / k_A, with s_i the noise
of one step.  All of it is written for the steps that the kernels take, so it is exact for every
setting of :class:`~dfc_neuro.rates.control.Control`.

Two sums over the steps t = 0..T-2 of a phase are wanted, per sample: of the covariance of the noise
part of v_A,i[t] with u[t+1], which is J_i^T C_i^T, and of the filtered control with u[t+1], K.
Both follow from a Neumann series in the M_j, whose coefficients are numbers, or from a recursion in
the lag, which is exact.

A layer further from the output adds one soma, ell_i = ell_{i+1} F; so a product of ell's depends on
how many there are and on their total distance from the output only.  Here layers are counted by
that distance: axes of length L start at the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dfc_neuro.rates.control import Control

Array = np.ndarray


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of the Neumann series, signs included.

    ``noise[m]`` (D_m, L): what powers P_m contribute to C of every layer.
    ``control[a, b]`` (L, D_a, D_b): what P_a S P_b^T contribute to K, S = J J^T of every layer.
    P_m[D] is the sum of all products of m of the M_j with total distance D, D_m = m (L - 1) + 1.
    """

    noise: tuple[Array, ...]
    control: dict[tuple[int, int], Array]


def noise_gains(control: Control, depth: int) -> tuple[Array, Array]:
    """Return s_i and rho_i = s_i / k_A of every layer, (L,) each."""
    hidden, output = control.noise_steps
    s = np.array([output] + [hidden] * (depth - 1))
    return s, s / control.apical_step


def weights(control: Control) -> tuple[Array, Array]:
    """Return what weighs lag k = 0..T-1 in K and in C: T - 1 - k, and that times lam^(k-1)."""
    k = np.arange(control.steps)
    pairs = np.where((k > 0) & (k < control.steps - 1), control.steps - 1.0 - k, 0.0)
    return pairs, pairs * (1.0 - control.apical_step) ** np.maximum(k - 1, 0)


def _late(x: Array) -> Array:
    return np.concatenate([np.zeros_like(x[:1]), x[:-1]])


def _leaky(x: Array, keep: float) -> Array:
    y = x.copy()
    for k in range(1, len(y)):
        y[k] += keep * y[k - 1]
    return y


@lru_cache(maxsize=64)
def coefficients(control: Control, depth: int, order: int) -> Coefficients:
    """Return the coefficients of the series, C to `order` in the M_j and K to one order less."""
    c, T, L = control, control.steps, depth
    k, k_A = c.soma_step, c.apical_step
    x = np.eye(1, T)[0]  # response of m loops in a row with an undelayed output layer
    ell, V = [], []  # (T, (m + 1)(L - 1) + 1): of m + 1 loops, by total distance; and filtered
    for m in range(order + 1):
        u = _leaky((c.dt + c.k_p) * _late(x) - c.k_p * _late(_late(x)), 1.0 - c.alpha * c.dt)
        x = _leaky(k * _leaky(k_A * (u if c.proactive else _late(u)), 1.0 - k_A), 1.0 - k)
        somata = [x]
        for _ in range((m + 1) * (L - 1)):
            somata.append(_leaky(k * (_late(somata[-1]) if c.delayed else somata[-1]), 1.0 - k))
        ell.append(np.array(somata).T)
        V.append(_leaky(k_A * _late(ell[-1]), 1.0 - k_A))
    s, rho = noise_gains(control, L)
    pairs, decaying = weights(control)
    ahead = 0 if c.proactive else 1  # v_A at lag k meets what left the loop at lag k + 1
    layer = np.arange(L)
    noise, both = [], {}
    for m in range(order + 1):
        D = np.arange(m * (L - 1) + 1)
        sums = decaying[:T - ahead] @ ell[m][ahead:]
        noise.append(-((-1.0) ** m) * s * rho * sums[D[:, None] + layer])
    for a in range(order):
        for b in range(order - a):
            sums = (V[a][:T - ahead] * pairs[:T - ahead, None]).T @ ell[b][ahead:]
            at = layer[:, None] + np.arange(a * (L - 1) + 1)
            to = layer[:, None] + np.arange(b * (L - 1) + 1)
            both[a, b] = ((-1.0) ** (a + b) * (rho**2)[:, None, None]
                          * sums[at[:, :, None], to[:, None, :]])
    return Coefficients(tuple(noise), both)


def unit(M: Array) -> Array:
    """Return P_0, one for every sample, (B, n_L, 1, n_L)."""
    B, n, _, _ = M.shape
    return np.broadcast_to(np.eye(n, dtype=M.dtype)[:, None], (B, n, 1, n))


def next_power(M: Array, P: Array) -> Array:
    """Return P_{m+1} (B, n_L, D_{m+1}, n_L) of M (B, n_L, L, n_L) and P_m."""
    B, n, L, _ = M.shape
    D = P.shape[2]
    right = np.zeros((B, L, n, D + L - 1, n), M.dtype)
    for d in range(L):
        right[:, d, :, d:d + D] = P
    return (M.reshape(B, n, L * n) @ right.reshape(B, L * n, -1)).reshape(B, n, -1, n)


def noise_order(P: list[Array], terms: Coefficients, m: int) -> Array:
    """Return the part of C of order m, (B, n_L, n_L, L)."""
    return np.tensordot(P[m], terms.noise[m].astype(P[m].dtype), (2, 0))


def control_order(P: list[Array], S: Array, terms: Coefficients, m: int) -> Array:
    """Return the part of order m of the sum over samples of K, (n_L, n_L); S is (B, n_L, n_L, L)"""
    B, n, _, L = S.shape
    K = np.zeros((n, n), S.dtype)
    for a in range(m + 1):
        term = terms.control[a, m - a].astype(S.dtype)
        X = (S.reshape(-1, L) @ term.reshape(L, -1)).reshape(B, n, n, *term.shape[1:])
        Y = P[a].reshape(B, n, -1) @ X.transpose(0, 3, 1, 4, 2).reshape(B, term.shape[1] * n, -1)
        K += (Y @ P[m - a].reshape(B, n, -1).transpose(0, 2, 1)).sum(axis=0)
    return K


def recursion(control: Control, M: Array, S: Array) -> tuple[Array, Array]:
    """Return C (B, n_L, n_L, L) and the sum over samples of K (n_L, n_L), exactly.

    Parameters
    ----------
    control : Control
        Constants of the phase.
    M : (B, n_L, L, n_L)
        J_i Q_i, the output layer first.
    S : (B, n_L, n_L, L)
        J_i J_i^T.
    """
    from dfc_neuro.rates._loop import advance

    B, n, L, _ = M.shape
    c, F = control, M.dtype
    s, rho = noise_gains(control, L)
    pairs, decaying = (w.astype(F) for w in weights(control))
    constants = np.array([1.0 - c.alpha * c.dt, c.dt + c.k_p, c.k_p, 1.0 - c.apical_step,
                          c.apical_step, 1.0 - c.soma_step, c.soma_step], F)
    # Everything is transposed, so that the sum over samples is one matrix product.
    turned = -np.ascontiguousarray(M.transpose(0, 3, 2, 1)).reshape(B, n, L * n)
    square = np.ascontiguousarray(S.transpose(0, 3, 1, 2))
    square *= (rho**2).astype(F)[:, None, None]
    R, before, total, apical = np.zeros((4, B, n, n), F)
    R += np.eye(n, dtype=F)
    Z, V, C = np.zeros((3, B, L, n, n), F)  # ell * R; that filtered; its weighted sum
    K = np.zeros((n, n), F)
    states = [a.reshape(B, -1) for a in (R, before, total, apical)]
    layers = [a.reshape(B, L, -1) for a in (Z, V, C)]
    for lag in range(c.steps - 1):
        left = (square @ V).reshape(-1, n).T
        if c.proactive:  # v_A at this lag meets what left the loop at this one; else at the next
            K += pairs[lag] * (left @ Z.reshape(-1, n))
        advance(*states, *layers, constants, decaying[lag], c.proactive, c.delayed)
        if not c.proactive:
            K += pairs[lag] * (left @ Z.reshape(-1, n))
        np.matmul(turned, Z.reshape(B, L * n, n), out=R)
    C *= -(s * rho).astype(F)[:, None, None]
    return C.transpose(0, 3, 2, 1), K
