"""The time average of DFC in closed form: no steps of the network, any length of the phase.

Summing each equation of the Euler scheme over time telescopes, so the time averages of a
linearised network follow from its last state, and that from a short chain
(:mod:`dfc_neuro.rates._chain`).  With N stored states of step dt, T = N dt, k and k_A the somatic
and apical steps, bars for time averages and e for the last state:

    delta_i = mean(v_i - v^B_i) = Q_i w - beta x_{i,e},      beta = (1/k - 1)/N
    (J Q + alpha I) w = e0 + beta sum_i J_i x_{i,e} + zeta sum_{i<L} J_i x_{i,e} - u_int,e/T
                        - (e_e - alpha u_e)/N - alpha g
    g = ((1/k_A - 1) u~_e + [not proactive] u_e)/N,           zeta = [delayed]/N

Then one forward sweep with delta_i, and the rule is read at the averaged state.

What is left is second order in the displacement.  The sweep's output shows one part of it, as the
Newton step s that would remove it; the other is the difference of the average of a function and
the function of the average, which is s times the variance over time of the filtered control,
relative to the square of its mean: c.  So the error is put at 5 s (1 + c), and after one Newton
step, whose own residual is s', at s' + 20 s (c + 0.02).  The numbers allow for what the output
does not show; on small networks of tanh and sigmoid units, for nudges of 1e-4 to 0.1 and T of 1 to
20 tau_u, the error of the update is then below three times the estimate.
Where the error of the output has grown, the loop is unstable and the estimate infinite.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dfc_neuro.rates import threads as pools
from dfc_neuro.rates._chain import chain, from_lanes, packed, to_lanes
from dfc_neuro.rates.algebra import terms
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Forward, Network, slopes
from dfc_neuro.rates.simulate import phi_deviation
from dfc_neuro.rates.steady_state import layer_gains, sweep

Array = np.ndarray
TOLERANCE = 1e-4  # of the update, relative
OUTPUTS = 128  # widest output: a sample's matrices are n_L x n_L, and beyond it steps are faster
TINY = 1e-300  # instead of 0, to divide by
DIFFERENCES = {"mismatch_post", "somatic_difference_post", "apical_post", "v_apical_post"}
HELD = {"gain_post"}


@dataclass
class Averaged:
    """Time averages of a minibatch as deviations from the feedforward state, and the last state.

    ``x``, ``basal``, ``apical`` are lists of (B, n_i); ``u`` and ``error`` (B, n_L) belong to the
    last state; `estimate` is the relative error that is left; `newton` says whether a Newton step
    was taken.
    """

    x: list[Array]
    basal: list[Array]
    apical: list[Array]
    u: Array
    error: Array
    estimate: float
    newton: bool


@lru_cache(maxsize=64)
def applies(rule: RuleKernel) -> bool:
    """Return whether the average of a rule is the rule at the average, to first order.

    That is so where every postsynaptic factor is a difference that vanishes without control,
    times what is held, and every presynaptic one the rate.
    """
    plan = rule.separated
    if rule.feedback or rule.by_synapse or set(plan.pre) != {"rate_pre"}:
        return False
    for post in plan.post:
        for term in terms(ast.parse(post, mode="eval").body):
            powers = {name: p for name, p in term if name.endswith("_post")}
            if any("(" in name for name, _ in term):
                return False
            if sum(powers.get(n, 0) for n in DIFFERENCES) != 1 or set(powers) - DIFFERENCES - HELD:
                return False
    return True


def time_average(net: Network, control: Control, fwd: Forward, delta: Array, *,
                 threads: int | None = None) -> Averaged:
    """Return the time averages of the control phase, and its last state.

    Parameters
    ----------
    net, control, fwd : Network, Control, Forward
        The network, the constants of the phase, the feedforward pass of the minibatch.
    delta : (B, n_L)
        Output target minus feedforward output.
    """
    F, N = net.dtype, control.steps
    slope = slopes(net, fwd)
    M = layer_gains(net, slope, threads)
    e0 = delta.astype(np.float64)
    last = _run_chain(M, e0, control, threads)
    u, e_end = last.u, last.error
    k, k_A = control.soma_step, control.apical_step
    beta, zeta = (1.0 / k - 1.0) / N, float(control.delayed) / N
    g = ((1.0 / k_A - 1.0) * last.u_slow + (0.0 if control.proactive else u)) / N

    fixed = e0 - last.u_int / (N * control.dt) - (e_end - control.alpha * u) / N - control.alpha * g
    right = fixed + beta * (last.hidden + e0 - e_end) + zeta * last.hidden
    inverse = np.linalg.inv(sum(M) + control.alpha * np.eye(delta.shape[1]))
    w = _times(inverse, right)

    x_end = _last_somata(net, slope, last.f.astype(F))
    # with delayed transmission the mean misses the last presynaptic deviation
    late = [F.type(zeta) * D * x for D, x in zip(slope, x_end, strict=True)] if zeta else None
    started, left = np.linalg.norm(e0, axis=1), np.linalg.norm(e_end, axis=1)
    missed = 0.0
    newton = False
    while True:
        apical = [w.astype(F) @ Q.T for Q in net.Q]
        shift = [a - F.type(beta) * end for a, end in zip(apical, x_end, strict=True)]
        x, basal = sweep(net, fwd, shift, late)
        dr_L = phi_deviation(net.nonlinearities[-1], fwd.v[-1], fwd.r[-1], x[-1])
        step = _times(inverse, fixed - dr_L - control.alpha * w)
        size = float(np.linalg.norm(step)) / max(float(np.linalg.norm(w)), TINY)
        if newton:
            estimate = size + 20.0 * missed * (0.02 + last.spread)
        else:
            missed, estimate = size, 5.0 * size * (1.0 + last.spread)
        if np.any(left > started):
            estimate = np.inf
        if newton or estimate < TOLERANCE or not np.isfinite(estimate):
            return Averaged(x, basal, apical, u.astype(F), e_end.astype(F), estimate, newton)
        w, newton = w + step, True


@dataclass
class _Last:
    """The last state of the chain.

    ``u``, ``u_int``, ``u_slow``, ``error`` (B, n_L): control, its integral part, apically filtered;
    the error.  ``f`` (B, L, n_L): the filtered control after one to L somatic filters.  ``hidden``
    (B, n_L): sum over hidden layers of J_i x_{i,e}; of all layers it is that plus e_0 - e_e.
    ``spread``: the variance of f[:, 0] over time, relative to the square of its mean.
    """

    u: Array
    u_int: Array
    u_slow: Array
    error: Array
    f: Array
    hidden: Array
    spread: float


def _run_chain(M: list[Array], e0: Array, control: Control, threads: int | None) -> _Last:
    (B, n_L), L = e0.shape, len(M)
    constants = np.array([control.dt, control.alpha, control.k_p, control.soma_step,
                          control.apical_step])
    f = np.empty((B, L, n_L))
    ends = [np.empty((B, n_L)) for _ in range(7)]

    def run(block: slice) -> None:
        part = to_lanes(e0[block])
        groups, n, lanes = part.shape
        g = np.empty((groups, L * n, lanes))
        found = [np.empty_like(part) for _ in ends]
        chain(packed([m[block] for m in M]), part, constants, control.steps, control.delayed,
              control.proactive, g, *found)
        S = block.stop - block.start
        for i in range(L):  # the last layer has one filter, the first L
            f[block, i] = from_lanes(g[:, (L - 1 - i) * n:(L - i) * n], S, n_L)
        for end, a in zip(ends, found, strict=True):
            end[block] = from_lanes(a, S, n_L)

    pools.over_blocks(run, B, threads)
    u, u_int, u_slow, error, hidden, total, square = ends
    mean_square = float(np.sum(total**2)) / control.steps**2
    spread = float(np.sum(square)) / control.steps / max(mean_square, TINY) - 1.0
    return _Last(u, u_int, u_slow, error, f, -hidden, max(spread, 0.0))


def _times(matrices: Array, vectors: Array) -> Array:
    """Return the products of (B, n, n) and (B, n); one call of BLAS for each would take longer."""
    return np.einsum("bij,bj->bi", matrices, vectors)


def _last_somata(net: Network, slope: list[Array], f: Array) -> list[Array]:
    """Return x_{i,e}: X_i^(k) = Q_i f_k + W_i D_{i-1} X_{i-1}^(k+1), and x_{i,e} = X_i^(1).

    f is (B, L, n_L); the X_i^(k) of a layer are rows of one product.
    """
    B, L, n_L = f.shape
    ends = [np.empty_like(part) for part in slope]

    def run(block: slice) -> None:
        S, below = block.stop - block.start, f
        for i in range(L):
            rows, n = S * (L - i), net.sizes[i + 1]
            here = np.dot(f[block, :L - i].reshape(rows, n_L), net.Q[i].T)
            if i:
                through = below[:, 1:] * slope[i - 1][block][:, None]
                here += np.dot(through.reshape(rows, net.sizes[i]), net.W[i].T)
            below = here.reshape(S, L - i, n)
            ends[i][block] = below[:, 0]

    pools.over_blocks(run, B, work=B * L * sum(float(w.size) for w in net.W[1:]))
    return ends
