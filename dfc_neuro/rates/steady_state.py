"""The analytic steady state of the controlled network, linearised at the feedforward point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfc_neuro.rates import threads as pools
from dfc_neuro.rates._layers import sweep, total_gain
from dfc_neuro.rates.flat import joined, split
from dfc_neuro.rates.network import Forward, Network

Array = np.ndarray


@dataclass
class SteadyState:
    """Control u (B, n_L), and what it does to the layers, lists of (B, n_i).

    ``apical`` is Q_i u; ``x``, ``basal``, ``dr`` are deviations of soma, basal compartment and rate
    from the feedforward state.
    """

    u: Array
    apical: list[Array]
    x: list[Array]
    basal: list[Array]
    dr: list[Array]


def steady_state(net: Network, fwd: Forward, delta: Array, alpha: float,
                 threads: int | None = None) -> SteadyState:
    """Return u = (J Q + alpha I)^{-1} delta, and v_i = Q_i u + W_i r_{i-1} + b_i.

    Parameters
    ----------
    net, fwd : Network, Forward
        The network and its feedforward pass; J_i = d r_L / d v_i belongs to it.
    delta : (B, n_L)
        Output target minus feedforward output.
    alpha : float
        Leak of the controller.
    threads : int, optional
        Threads to use; all that are available if not given.
    """
    F, (B, n_L) = net.dtype, delta.shape
    network = (*net.layout, net.places, joined(net.W), joined(net.Q), joined(fwd.v), joined(fwd.r))
    apical, x, basal, dr = (np.empty(B * sum(net.sizes[1:]), F) for _ in range(4))
    u, none = np.empty((B, n_L), F), np.empty(0, F)

    def run(block: slice) -> None:
        gain = np.empty((block.stop - block.start, n_L, n_L))
        total_gain(*network, alpha, block.start, block.stop, gain)
        u[block] = np.linalg.solve(gain, delta[block].astype(np.float64)[..., None])[..., 0]
        sweep(*network, u[block].reshape(-1), none, none, apical, x, basal, dr, block.start,
              block.stop)

    pools.over_blocks(run, B, threads)
    shapes = [(B, n) for n in net.sizes[1:]]
    return SteadyState(u, split(apical, shapes), split(x, shapes), split(basal, shapes),
                       split(dr, shapes))
