"""The four stability matrices of the controlled network and their leading eigenvalue.

Meulemans et al., arXiv:2106.07887, S-notation: A_tildeI and A_I (integral control, similar
matrices), A_instI (instantaneous system), A_PI (with proportional gain).
"""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._algebra import stack, through
from dfc_neuro.rates.network import Forward, Network, jacobian, slopes

Array = np.ndarray
NAMES = ("A_tildeI", "A_I", "A_instI", "A_PI")


def matrices(net: Network, state: Forward, *, alpha: float, k_p: float,
             tau: float) -> dict[str, Array]:
    """Build the matrices at a state of the network.

    Parameters
    ----------
    net : Network
    state : Forward
        Voltages and rates at which the network is linearised, B samples.
    alpha, k_p, tau : float
        Leak, proportional gain, and tau_v / tau_u.

    Returns
    -------
    dict of (B, N + n_L, N + n_L), N = sum n_i; A_instI is (B, n_L, n_L)
    """
    J, gain = jacobian(net, state), slopes(net, state)
    B, n_L, N = len(state.x), net.sizes[-1], sum(net.sizes[1:])
    Q = stack(net.Q)
    edges = np.cumsum([0, *net.sizes[1:]])
    J_hat = np.zeros((B, N, N))
    for W, (i, j) in zip(net.W, net.links, strict=True):
        if j:
            J_hat[:, edges[i]:edges[i + 1], edges[j - 1]:edges[j]] = W * gain[j - 1][:, None, :]
    soma = (np.eye(N) - J_hat) / tau
    J_bar, J_L0 = np.concatenate(J, axis=2), np.zeros((B, n_L, N))
    J_L0[:, :, edges[-2]:] = J[-1]
    leak = np.broadcast_to(alpha * np.eye(n_L), (B, n_L, n_L))

    def whole(coupling: Array, reads: Array, own: Array) -> Array:
        A = np.empty((B, N + n_L, N + n_L))
        A[:, :N, :N], A[:, :N, N:], A[:, N:, :N], A[:, N:, N:] = -soma, coupling, reads, own
        return A

    return {
        "A_tildeI": whole(Q / tau, -J_L0, -leak),
        "A_I": whole(soma @ Q, -J_bar, -leak),
        "A_instI": -(through(J, net.Q) + leak),
        "A_PI": whole(soma @ Q, -J_bar + (k_p / tau) * J_L0,
                      -(leak + (k_p / tau) * (J[-1] @ net.Q[-1]))),
    }


def leading(matrix: Array) -> Array:
    """Return the largest real part of the eigenvalues of each matrix (B, n, n): (B,)."""
    return np.linalg.eigvals(matrix).real.max(axis=1)


def _by_filters(net: Network, state: Forward) -> list[Array]:
    """Return the parts of sum_i J_i Q_i that pass L, ..., 1 somata, a list of (B, n_L, n_L).

    In a chain they are the J_i Q_i; with skip projections a layer has paths of several lengths.
    """
    if not net.skips:
        return [J @ Q for J, Q in zip(jacobian(net, state), net.Q, strict=True)]
    slope, n_L = slopes(net, state), net.sizes[-1]
    paths: list[Array | None] = [None] * net.depth  # J_i over paths of so many somata
    paths[-1] = slope[-1][:, :, None] * np.eye(n_L)
    found = []
    for _ in range(net.depth):
        found.append(sum((J @ Q for J, Q in zip(paths, net.Q, strict=True) if J is not None),
                         np.zeros((len(state.x), n_L, n_L))))
        longer: list[Array | None] = [None] * net.depth
        for W, (i, j) in zip(net.W, net.links, strict=True):
            if j and paths[i] is not None:
                step = paths[i] @ W * slope[j - 1][:, None, :]
                longer[j - 1] = step if longer[j - 1] is None else longer[j - 1] + step
        paths = longer
    return found[::-1]


def _reduced(M: list[Array], *, alpha: float, k_p: float, tau: float) -> Array:
    """Return the companion matrices (B, (L + 1) n_L, same) in z = 1 + tau s, s an eigenvalue.

    The somata of layer i reach the output through L - i + 1 low-pass filters, so an eigenvalue
    s of the whole satisfies [(s + alpha) z^L + (1 + k_p s) sum_i z^(i-1) M_i] u = 0; M_i is
    J_i Q_i, or what else passes as many filters.
    """
    B, n_L, L = len(M[0]), M[0].shape[1], len(M)
    coefficient = np.zeros((L + 2, B, n_L, n_L))
    coefficient[L + 1] = np.eye(n_L)  # tau times the equation
    coefficient[L] = (tau * alpha - 1.0) * np.eye(n_L)
    for i, M_i in enumerate(M):
        coefficient[i] += (tau - k_p) * M_i
        coefficient[i + 1] += k_p * M_i
    size = (L + 1) * n_L
    companion = np.zeros((B, size, size))
    companion[:, :-n_L, n_L:] = np.eye(size - n_L)
    for i in range(L + 1):
        companion[:, -n_L:, i * n_L:(i + 1) * n_L] = -coefficient[i]
    return companion


def leading_eigenvalues(net: Network, state: Forward, *, alpha: float, k_p: float,
                        tau: float) -> dict[str, Array]:
    """Return the leading real eigenvalue of the four matrices, from small equivalents.

    The spectrum of a matrix of size N + n_L is that of a companion matrix of size (L + 1) n_L,
    filled up with -1/tau: for 784-256-256-256-10 size 50 in the place of 778.  Where that is not
    smaller (a bottleneck narrower than the output), the matrices themselves are decomposed, at
    a cost of (N + n_L)^3 a sample.

    Parameters
    ----------
    As for :func:`matrices`.

    Returns
    -------
    dict of (B,)
    """
    n_L, L, N = net.sizes[-1], net.depth, sum(net.sizes[1:])
    if L * n_L > N:
        return {name: leading(A) for name, A in
                matrices(net, state, alpha=alpha, k_p=k_p, tau=tau).items()}
    M = _by_filters(net, state)
    found = {}
    for name, gain in (("A_I", 0.0), ("A_PI", k_p)):
        z = np.linalg.eigvals(_reduced(M, alpha=alpha, k_p=gain, tau=tau)).real.max(axis=1)
        s = (z - 1.0) / tau
        found[name] = np.maximum(s, -1.0 / tau) if L * n_L < N else s
    found["A_tildeI"] = found["A_I"]
    found["A_instI"] = leading(-(sum(M) + alpha * np.eye(n_L)))
    return {name: found[name] for name in NAMES}
