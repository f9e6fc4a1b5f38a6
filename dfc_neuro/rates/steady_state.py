"""The analytic steady state of the controlled network, linearised at the feedforward point."""

from __future__ import annotations

import threading

import numpy as np

from dfc_neuro.rates import threads as pools
from dfc_neuro.rates._elementwise import scale_rows
from dfc_neuro.rates.network import Forward, Network, jacobian_of, slopes
from dfc_neuro.rates.simulate import phi_deviation

Array = np.ndarray


def layer_gains(net: Network, slope: list[Array], threads: int | None = None) -> list[Array]:
    """Return M_i = J_i Q_i of every layer, (B, n_L, n_L) each.

    The Jacobians J_i = d r_L / d v_i are made block by block of samples and not kept.

    Parameters
    ----------
    net : Network
    slope : list of (B, n_i)
        phi_i'(v_i^-).
    threads : int, optional
        Threads to use; all that are available if not given.
    """
    if net.skips:
        return [J @ Q for J, Q in zip(jacobian_of(net, slope), net.Q, strict=True)]
    B, n_L = slope[-1].shape
    M = [np.empty((B, n_L, n_L), net.dtype) for _ in net.W]

    def run(block: slice) -> None:
        S = block.stop - block.start
        J = (slope[-1][block][:, :, None] * np.eye(n_L, dtype=net.dtype)).reshape(S * n_L, n_L)
        for i in range(net.depth - 1, -1, -1):
            M[i][block] = (J @ net.Q[i]).reshape(S, n_L, n_L)
            if i:
                n = net.sizes[i]
                below = _scratch(i % 2, S * n_L * n, net.dtype)
                np.matmul(J, net.W[i], out=below.reshape(S * n_L, n))
                scale_rows(below, slope[i - 1][block].reshape(-1), S, n_L, n)
                J = below.reshape(S * n_L, n)

    pools.over_blocks(run, B, threads)
    return M


_local = threading.local()


def _scratch(which: int, size: int, dtype: np.dtype) -> Array:
    """Return a flat array of this thread that is used again; fresh pages cost more than sums."""
    held = _local.__dict__.setdefault("arrays", {})
    found = held.get((which, dtype))
    if found is None or found.size < size:
        found = held[which, dtype] = np.empty(size, dtype)
    return found[:size]


def steady_control(net: Network, fwd: Forward, delta: Array, alpha: float,
                   threads: int | None = None) -> Array:
    """Return u = (Jbar Qbar + alpha I)^{-1} delta, (B, n_L); solved in float64."""
    gain = np.sum(layer_gains(net, slopes(net, fwd), threads), axis=0, dtype=np.float64)
    gain += alpha * np.eye(gain.shape[1])
    return np.linalg.solve(gain, delta[..., None].astype(np.float64))[..., 0].astype(net.dtype)


def sweep(net: Network, fwd: Forward, shift: list[Array], late: list[Array] | None = None,
          out: tuple[list[Array], list[Array]] | None = None) -> tuple[list[Array], list[Array]]:
    """Add `shift` to every layer's voltage and run forward: v_i = shift_i + W_i r_{i-1} + b_i.

    With `late`, r_{i-1} - late_{i-1} takes the place of r_{i-1}.  Returns the deviations of soma
    and basal compartment from the feedforward state, written to `out` if that is given.
    """
    x, basal = out or ([np.empty_like(s) for s in shift], [np.empty_like(s) for s in shift])
    basal[0][:] = 0.0

    def run(block: slice) -> None:
        rates = []  # deviations of r_1, ...; that of the input is nil
        for i, s in enumerate(shift):
            if i:
                below = phi_deviation(net.nonlinearities[i - 1], fwd.v[i - 1][block],
                                      fwd.r[i - 1][block], x[i - 1][block])
                if late is not None:
                    below -= late[i - 1][block]
                rates.append(below)
                np.matmul(below, net.W[i].T, out=basal[i][block])
            for j, w in net.skips_to(i):
                if j:
                    basal[i][block] += rates[j - 1] @ w.T
            np.add(basal[i][block], s[block], out=x[i][block])

    pools.over_blocks(run, len(fwd.x), work=2.0 * len(fwd.x) * sum(w.size for w in net.W[1:]))
    return x, basal
