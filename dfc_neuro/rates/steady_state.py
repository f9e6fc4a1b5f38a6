"""The analytic steady state of the controlled network, linearised at the feedforward point."""

from __future__ import annotations

import numpy as np

from dfc_neuro.rates.network import Forward, Network, jacobian
from dfc_neuro.rates.simulate import phi_deviation

Array = np.ndarray


def layer_gains(J: list[Array], Q: list[Array]) -> list[Array]:
    """Return M_i = J_i Q_i of every layer, (B, n_L, n_L) each, in float64."""
    B, n_L, _ = J[0].shape
    return [(J_i.reshape(B * n_L, -1) @ Q_i).reshape(B, n_L, n_L).astype(np.float64)
            for J_i, Q_i in zip(J, Q, strict=True)]


def steady_control(net: Network, fwd: Forward, delta: Array, alpha: float) -> Array:
    """Return u = (Jbar Qbar + alpha I)^{-1} delta, (B, n_L); solved in float64."""
    gain = np.sum(layer_gains(jacobian(net, fwd), net.Q), axis=0)
    gain += alpha * np.eye(gain.shape[1])
    return np.linalg.solve(gain, delta[..., None].astype(np.float64))[..., 0].astype(net.dtype)


def sweep(net: Network, fwd: Forward, shift: list[Array]) -> tuple[list[Array], list[Array]]:
    """Add `shift` to every layer's voltage and run forward: v_i = shift_i + W_i r_{i-1} + b_i.

    Returns the deviations of soma and basal compartment from the feedforward state.
    """
    x: list[Array] = []
    basal: list[Array] = []
    for i, s in enumerate(shift):
        if i == 0:
            basal.append(np.zeros_like(s))
        else:
            below = phi_deviation(net.nonlinearities[i - 1], fwd.v[i - 1], fwd.r[i - 1], x[-1])
            basal.append(below @ net.W[i].T)
        x.append(basal[-1] + s)
    return x, basal
