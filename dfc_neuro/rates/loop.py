"""Second moments of the linearised feedback loop under noise, for one minibatch.

With the network's own output as target, and linear around the feedforward point, the noise eta_i of
the apical compartments makes the control

    u = -R sum_i rho_i ell_i J_i eta_i,    R = (1 + sum_j ell_j M_j)^-1,    M_j = J_j Q_j,

products being convolutions over time.  The scalar ell_i is the open loop's response: controller,
apical compartment, and the somata from layer i to the output; rho_i = s_i / k_A, with s_i the noise
of one step.  All of it is written for the steps that the kernels take, so it is exact for every
setting of :class:`~dfc_neuro.rates.control.Control`.

Two sums over the steps t = 0..T-2 of a phase are wanted, per sample and layer: of the covariance of
the noise part of v_A[t] with u[t+1], which is J_i^T C_i^T, and of the filtered control with u[t+1],
K.  Both follow from a Neumann series in the M_j, whose coefficients are numbers, or from a
recursion in the lag, which is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dfc_neuro.rates.control import Control

Array = np.ndarray


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of the Neumann series, signs included; "word" is a sequence of layers.

    ``noise[m]``, shape (L,) * m + (L,): of M_w in C_i for words w of m layers, then i.
    ``control[a, b]``, shape (L,) * (a + b) + (L,): of M_w S_i M_w'^T in K for words w and w' of a
    and b layers, then i; S_i = J_i J_i^T.
    """

    noise: tuple[Array, ...]
    control: dict[tuple[int, int], Array]


class Responses:
    """What a sequence X[0], X[1], ... of arrays (B, ...) becomes on its way through the loop.

    ``Z`` (B, L, ...) is ell_i * X at the lag reached, and ``V`` the same once more through the
    apical compartment, as Q_i would be driven by it.
    """

    def __init__(self, control: Control, depth: int, first: Array):
        self.control = control
        self.newest, self.before = first, np.zeros_like(first)
        self.total, self.filtered = np.zeros_like(first), np.zeros_like(first)
        self.Z = np.zeros((len(first), depth, *first.shape[1:]), first.dtype)
        self.V = np.zeros_like(self.Z)

    def step(self) -> None:
        """Go to the next lag; ``newest`` holds X at the lag before."""
        c, k, k_A = self.control, self.control.soma_step, self.control.apical_step
        self.V *= 1.0 - k_A
        self.V += k_A * self.Z
        old = self.total
        self.total = ((1.0 - c.alpha * c.dt) * old + (c.dt + c.k_p) * self.newest
                      - c.k_p * self.before)
        self.before = self.newest
        self.filtered *= 1.0 - k_A
        self.filtered += k_A * (self.total if c.proactive else old)
        last = self.Z.shape[1] - 1
        for i in range(last + 1) if c.delayed else range(last, -1, -1):
            source = self.filtered if i == last else self.Z[:, i + 1]
            self.Z[:, i] *= 1.0 - k
            self.Z[:, i] += k * source


def noise_gains(control: Control, depth: int) -> tuple[Array, Array]:
    """Return s_i and rho_i = s_i / k_A of every layer, (L,) each."""
    hidden, output = control.noise_steps
    s = np.array([hidden] * (depth - 1) + [output])
    return s, s / control.apical_step


def weights(control: Control) -> tuple[Array, Array]:
    """Return what weighs lag k = 0..T-1 in K and in C_i: T - 1 - k, and that times lam^(k-1)."""
    k = np.arange(control.steps)
    pairs = np.where((k > 0) & (k < control.steps - 1), control.steps - 1.0 - k, 0.0)
    return pairs, pairs * (1.0 - control.apical_step) ** np.maximum(k - 1, 0)


@lru_cache(maxsize=32)
def coefficients(control: Control, depth: int, order: int) -> Coefficients:
    """Return the coefficients of the series, C to `order` in the M_j and K to one order less."""
    T, L = control.steps, depth
    s, rho = noise_gains(control, depth)
    pairs, decaying = weights(control)
    ahead = 0 if control.proactive else 1  # v_A at lag k meets what left the loop at lag k + 1
    words = [np.eye(1, T).T]  # (T, L^m): response of m layers in a row
    Z, V = [], []  # (T, L^m, L): that times ell_i, and filtered
    for _ in range(order):
        path = Responses(control, depth, words[-1][0])
        stored = [(path.Z.copy(), path.V.copy())]
        for X in words[-1][:-1]:
            path.newest = X
            path.step()
            stored.append((path.Z.copy(), path.V.copy()))
        Z.append(np.array([z for z, _ in stored]))
        V.append(np.array([v for _, v in stored]))
        words.append(Z[-1].reshape(T, -1))
    meets = np.zeros(T)
    meets[ahead:] = decaying[:T - ahead]
    gamma = np.array([np.correlate(meets, ell, "full")[T - 1:] for ell in words[1].T]).T
    noise = tuple(-(-1.0) ** m * (word.T @ gamma * (s * rho)).reshape((L,) * (m + 1))
                  for m, word in enumerate(words))
    control_ = {}
    for a in range(order):
        for b in range(order - a):
            sums = np.einsum("k,kai,kbi->abi", pairs[:T - ahead], V[a][:T - ahead], Z[b][ahead:],
                             optimize=True)
            control_[a, b] = (-1.0) ** (a + b) * (sums * rho**2).reshape((L,) * (a + b + 1))
    return Coefficients(noise, control_)


def _multiply(M: Array, X: Array) -> Array:
    """Return sum_j M_j X_j: M (B, n, L, n), X (B, n, m, L, ...) to (B, n, m, ...)."""
    B, n, L, _ = M.shape
    right = np.moveaxis(X, 3, 1)
    out = M.reshape(B, n, L * n) @ right.reshape(B, L * n, -1)
    return out.reshape(B, n, *right.shape[3:])


def noise_series(M: Array, terms: tuple[Array, ...]) -> Array:
    """Return C_i by its Neumann series, (B, n_L, n_L, L).

    Parameters
    ----------
    M : (B, n_L, L, n_L)
        M[b, :, j] is J_j Q_j of sample b.
    terms : tuple of arrays
        ``Coefficients.noise``, up to the order wanted.
    """
    n = M.shape[1]
    each = np.arange(n)
    X = np.zeros((len(M), n, n, *terms[-1].shape), M.dtype)
    X[:, each, each] = terms[-1]
    for lower in terms[-2::-1]:
        X = _multiply(M, X)
        X[:, each, each] += lower.astype(M.dtype)
    return X


def control_series(M: Array, S: Array, terms: dict[tuple[int, int], Array]) -> Array:
    """Return the sum over samples of K by its Neumann series, (n_L, n_L).

    Parameters
    ----------
    M, S : (B, n_L, L, n_L)
        J_j Q_j and J_j J_j^T.
    terms : dict
        ``Coefficients.control``, up to the order wanted.
    """
    K = np.zeros((M.shape[1],) * 2, M.dtype)
    for (a, b), term in terms.items():
        X = np.tensordot(S, term.astype(M.dtype), (2, term.ndim - 1))
        for _ in range(a):
            X = _multiply(M, X)
        X = np.swapaxes(X, 1, 2)
        for _ in range(b):
            X = _multiply(M, X)
        K += X.sum(axis=0).T
    return K


def recursion(control: Control, M: Array, S: Array) -> tuple[Array, Array]:
    """Return C_i (B, n_L, n_L, L) and the sum over samples of K (n_L, n_L), exactly.

    Parameters
    ----------
    control : Control
        Constants of the phase.
    M, S : (B, n_L, L, n_L)
        J_j Q_j and J_j J_j^T.
    """
    B, n, L, _ = M.shape
    s, rho = noise_gains(control, L)
    pairs, decaying = weights(control)
    # Everything is transposed, so that the sum over samples is one matrix product.
    turned = np.ascontiguousarray(M.transpose(0, 3, 2, 1)).reshape(B, n, L * n)
    square = np.ascontiguousarray(S.transpose(0, 2, 1, 3))
    square *= (rho**2).astype(M.dtype)[:, None, None]
    path = Responses(control, L, np.broadcast_to(np.eye(n, dtype=M.dtype), (B, n, n)))
    C, K = np.zeros_like(square), np.zeros((n, n), M.dtype)

    def advance() -> None:
        path.step()
        path.newest = -turned @ path.Z.reshape(B, L * n, n)

    advance()
    for k in range(1, control.steps - 1):
        left = square @ path.V
        if not control.proactive:  # v_A at lag k meets what left the loop at lag k + 1
            advance()
        C += decaying[k] * path.Z
        K += pairs[k] * (left.reshape(-1, n).T @ path.Z.reshape(-1, n))
        if control.proactive:
            advance()
    C *= -(s * rho).astype(M.dtype)[:, None, None]
    return C.transpose(0, 3, 2, 1), K
