"""Reference updates that a method's update is held against: MN, GN and the analytic state.

Meulemans et al., arXiv:2106.07887.  Every sample is one small n_L x n_L system; no Jacobian with
respect to weights is built.  All updates are ascent directions for delta = r_L* - r_L^-.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfc_neuro.diagnostics._algebra import gram, solve_gram
from dfc_neuro.rates.network import Forward, Network, Update, jacobian
from dfc_neuro.rates.nonlinearities import NONLINEARITIES
from dfc_neuro.rates.steady_state import steady_state

Array = np.ndarray


@dataclass(frozen=True)
class AnalyticState:
    """The steady state of control, linearised in u (DFC-SSA); lists of (B, n_i)."""

    u: Array
    delta_v: list[Array]
    v: list[Array]
    r: list[Array]


def outer_mean(net: Network, post: list[Array], pre: list[Array]) -> Update:
    """Return dW = mean_b post_i pre_j^T of each W, from r_j to layer i; db_i = mean_b post_i."""
    return Update([post[i].T @ pre[j] / len(pre[j]) for i, j in net.links],
                  [p.mean(axis=0) for p in post])


def rate_difference(net: Network, v: list[Array], delta_v: list[Array]) -> list[Array]:
    """Return phi_i(v_i + delta_v_i) - phi_i(v_i)."""
    return [NONLINEARITIES[name].phi(a + d) - NONLINEARITIES[name].phi(a)
            for name, a, d in zip(net.nonlinearities, v, delta_v, strict=True)]


def minimum_norm_targets(J: list[Array], delta: Array, gamma: float) -> list[Array]:
    """Return Delta v = Jbar^T (Jbar Jbar^T + gamma I)^-1 delta, a list of (B, n_i).

    Parameters
    ----------
    J : list of (B, n_L, n_i)
    delta : (B, n_L)
    gamma : float
        Damping; 0 is the pseudoinverse.
    """
    y = solve_gram(gram(J), delta[:, :, None], gamma)
    return [(J_i.swapaxes(1, 2) @ y)[:, :, 0] for J_i in J]


def minimum_norm(net: Network, fwd: Forward, delta: Array, gamma: float = 0.0, *,
                 nonlinear: bool = False, J: list[Array] | None = None) -> Update:
    """Return the minimum-norm target update (MN).

    Parameters
    ----------
    net, fwd : Network, Forward
    delta : (B, n_L)
        Output target minus feedforward output.
    gamma : float
        Damping.
    nonlinear : bool
        Use phi(v^- + Delta v) - phi(v^-) in the place of Delta v.
    J : list of (B, n_L, n_i), optional
        The Jacobian, if it is at hand.
    """
    targets = minimum_norm_targets(J or jacobian(net, fwd), delta, gamma)
    if nonlinear:
        targets = rate_difference(net, fwd.v, targets)
    return outer_mean(net, targets, fwd.presynaptic)


def gauss_newton(net: Network, fwd: Forward, delta: Array, gamma: float = 0.0, *,
                 J: list[Array] | None = None) -> Update:
    """Return the Gauss-Newton update of all weights and biases, sample by sample, averaged.

    dtheta = mean_b J_W^T (J_W J_W^T + gamma I)^-1 delta, J_W = d r_L / d(all W and b); its Gram
    matrix is sum_i (|r_{i-1}|^2 + 1) J_i J_i^T, with all rates that a layer reads.

    Parameters
    ----------
    net, fwd, delta, gamma, J
        As for :func:`minimum_norm`.
    """
    J = J or jacobian(net, fwd)
    norms = [(r * r).sum(axis=1) for r in fwd.presynaptic]
    weights = [norm + 1.0 for norm in norms]
    for i, j in net.skips:
        weights[i] += norms[j]
    y = solve_gram(gram(J, weights), delta[:, :, None], gamma)
    return outer_mean(net, [(J_i.swapaxes(1, 2) @ y)[:, :, 0] for J_i in J], fwd.presynaptic)


def analytic_state(net: Network, fwd: Forward, delta: Array, alpha: float) -> AnalyticState:
    """Return the analytic steady state of control (DFC-SSA).

    u = (Jbar Qbar + alpha I)^-1 delta, Delta v = Qbar u, then one forward sweep
    v_i = Delta v_i + W_i r_{i-1} + b_i.

    Parameters
    ----------
    net, fwd, delta
        As for :func:`minimum_norm`.
    alpha : float
        Leak of the controller.
    """
    end = steady_state(net, fwd, delta, alpha)
    v = [free + a for free, a in zip(fwd.v, end.x, strict=True)]
    r = [NONLINEARITIES[name].phi(a) for name, a in zip(net.nonlinearities, v, strict=True)]
    return AnalyticState(end.u, end.apical, v, r)


def analytic_update(net: Network, fwd: Forward, state: AnalyticState, *, nonlinear: bool = True,
                    controlled: list[Array] | None = None) -> Update:
    """Return the update of the analytic state, read with the rates of a running method.

    Parameters
    ----------
    net, fwd : Network, Forward
    state : AnalyticState
    nonlinear : bool
        Differences of rates (as the published reference) or of voltages.
    controlled : list of (B, n_i), optional
        The running method's controlled rates r_1..r_L; the state's own if not given.
    """
    pre = [fwd.x, *(controlled or state.r)[:-1]]
    if not nonlinear:
        return outer_mean(net, state.delta_v, pre)
    basal = [r @ W.T + b for r, W, b in zip(pre, net.W[:net.depth], net.b, strict=True)]
    for (i, j), W in zip(net.skips, net.W[net.depth:], strict=True):
        basal[i] += pre[j] @ W.T
    return outer_mean(net, rate_difference(net, basal, state.delta_v), pre)
