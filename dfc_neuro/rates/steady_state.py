"""The analytic steady state of the controlled network, linearised at the feedforward point."""

from __future__ import annotations

import numpy as np

from dfc_neuro.rates.network import Forward, Network, jacobian
from dfc_neuro.rates.simulate import deviation

Array = np.ndarray


def loop_gain(J: list[Array], Q: list[Array]) -> Array:
    """Return sum_i J_i Q_i, (B, n_L, n_L)."""
    return sum(J_i @ Q_i for J_i, Q_i in zip(J, Q, strict=True))  # type: ignore[return-value]


def steady_control(net: Network, fwd: Forward, delta: Array, alpha: float) -> Array:
    """Return u = (Jbar Qbar + alpha I)^{-1} delta, (B, n_L); solved in float64."""
    gain = loop_gain(jacobian(net, fwd), net.Q).astype(np.float64)
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
            below = deviation(_layer(net, i - 1), _layer_state(fwd, i - 1), [x[-1]])[0]
            basal.append(below @ net.W[i].T)
        x.append(basal[-1] + s)
    return x, basal


def _layer(net: Network, i: int) -> Network:
    return Network([net.W[i]], [net.b[i]], [net.Q[i]], (net.nonlinearities[i],))


def _layer_state(fwd: Forward, i: int) -> Forward:
    return Forward(fwd.x, [fwd.v[i]], [fwd.r[i]])
