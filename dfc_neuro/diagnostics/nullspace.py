"""Share of each weight update that changes no output of the minibatch, to first order."""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._snapshot import Snapshot

Array = np.ndarray


def ratio(J: Array, r: Array, dW: Array, tolerance: float = 1e-12) -> float:
    """Return |N^T vec(dW)| / |dW|, N the null space of d(all outputs) / dW_i.

    A row of that Jacobian is J_i[b, k] (x) r_{i-1}[b], so its Gram matrix (B n_L, B n_L) is a
    product of two small ones and the Jacobian is never built.

    Parameters
    ----------
    J : (B, n_L, n_i)
    r : (B, n_{i-1})
    dW : (n_i, n_{i-1})
    tolerance : float
        Eigenvalues of the Gram matrix below this fraction of the largest count as zero.
    """
    B, n_L, _ = J.shape
    rows = J.reshape(B * n_L, -1)
    pre = np.repeat(r, n_L, axis=0)
    values, vectors = np.linalg.eigh((rows @ rows.T) * (pre @ pre.T))
    kept = values > tolerance * max(values[-1], 0.0)
    effect = ((rows @ dW) * pre).sum(axis=1)
    weights = vectors[:, kept] @ ((vectors[:, kept].T @ effect) / values[kept])
    inside = (rows * weights[:, None]).T @ pre
    with np.errstate(invalid="ignore"):
        return float(np.linalg.norm(dW - inside) / np.linalg.norm(dW))


def measure(state: Snapshot) -> dict[str, float]:
    """Return the ratio for each W."""
    update = state.need_update("nullspace")
    net, rates = state.net, state.fwd.presynaptic
    return {name: ratio(state.jacobian[i], rates[j], dW) for name, (i, j), dW in
            zip(net.names, net.links, update.dW, strict=True)}
