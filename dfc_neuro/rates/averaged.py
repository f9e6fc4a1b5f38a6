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
from dfc_neuro.rates._lanes import zeros
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
    blocks = pools.blocks(len(delta), threads)
    x, basal, apical = ([np.empty_like(v) for v in fwd.v] for _ in range(3))

    def first(block: slice) -> _Linear:
        linear = _linearised(net, control, fwd.part(block), delta[block])
        linear.miss = _swept(net, control, fwd, linear, block, x, basal, apical)
        return linear

    def second(part: tuple[_Linear, slice]) -> None:
        linear, block = part
        linear.w = linear.w + linear.miss
        linear.miss = _swept(net, control, fwd, linear, block, x, basal, apical)

    parts = pools.over(first, blocks, threads)
    u, error, total, square = (
        np.concatenate([getattr(part.last, name) for part in parts]) for name in
        ("u", "error", "total", "square"))
    spread = control.steps * float(np.sum(square)) / max(float(np.sum(total**2)), TINY) - 1.0
    size = _missed(parts)
    estimate = 5.0 * size * (1.0 + max(spread, 0.0))
    if np.any(np.linalg.norm(error, axis=1) > np.linalg.norm(delta, axis=1)):
        estimate = np.inf
    newton = TOLERANCE <= estimate < np.inf
    if newton:
        pools.over(second, list(zip(parts, blocks, strict=True)), threads)
        estimate = _missed(parts) + 20.0 * size * (0.02 + max(spread, 0.0))
    return Averaged(x, basal, apical, u, error, estimate, newton)


@dataclass
class _Linear:
    """What the linearised network of a block of samples says of its averages.

    ``w`` (S, n_L): the mean control, and ``miss`` the Newton step that the sweep asks for;
    ``inverse`` (S, n_L, n_L) of J Q + alpha I; ``fixed`` (S, n_L): the part of the right side that
    does not depend on the layers; ``x_end``: lists of (S, n_i), the last deviation of the somata,
    and ``late``, what delayed transmission takes away.
    """

    last: _Last
    w: Array
    inverse: Array
    fixed: Array
    x_end: list[Array]
    late: list[Array] | None
    miss: Array


def _linearised(net: Network, control: Control, fwd: Forward, delta: Array) -> _Linear:
    F, N = net.dtype, control.steps
    slope = slopes(net, fwd)
    M = layer_gains(net, slope)
    e0 = delta.astype(np.float64)
    last = _run_chain(M, delta, control)
    u, e_end = last.u.astype(np.float64), last.error.astype(np.float64)
    k, k_A = control.soma_step, control.apical_step
    beta, zeta = (1.0 / k - 1.0) / N, float(control.delayed) / N
    g = ((1.0 / k_A - 1.0) * last.u_slow + (0.0 if control.proactive else u)) / N

    fixed = e0 - last.u_int / (N * control.dt) - (e_end - control.alpha * u) / N - control.alpha * g
    right = fixed + beta * (e0 - e_end - last.hidden) - zeta * last.hidden
    gain = np.sum(M, axis=0, dtype=np.float64) + control.alpha * np.eye(delta.shape[1])
    inverse = np.linalg.inv(gain)
    x_end = _last_somata(net, slope, last, delta)
    # with delayed transmission the mean misses the last presynaptic deviation
    late = [F.type(zeta) * D * x for D, x in zip(slope, x_end, strict=True)] if zeta else None
    w = _times(inverse, right)
    return _Linear(last, w, inverse, fixed, x_end, late, np.zeros_like(w))


def _swept(net: Network, control: Control, fwd: Forward, linear: _Linear, block: slice,
           x: list[Array], basal: list[Array], apical: list[Array]) -> Array:
    """Fill the averages of a block from the mean control; return the Newton step (S, n_L)."""
    part, w = fwd.part(block), linear.w.astype(net.dtype)
    x, basal, apical = ([v[block] for v in side] for side in (x, basal, apical))
    beta = net.dtype.type((1.0 / control.soma_step - 1.0) / control.steps)
    for a, Q in zip(apical, net.Q, strict=True):
        np.matmul(w, Q.T, out=a)
    shift = [a - beta * end for a, end in zip(apical, linear.x_end, strict=True)]
    sweep(net, part, shift, linear.late, out=(x, basal))
    dr_L = phi_deviation(net.nonlinearities[-1], part.v[-1], part.r[-1], x[-1])
    return _times(linear.inverse, linear.fixed - dr_L - control.alpha * linear.w)


def _missed(parts: list[_Linear]) -> float:
    """Return the size of the Newton step relative to that of the mean control."""
    def norm(name: str) -> float:
        return float(np.linalg.norm(np.concatenate([getattr(part, name) for part in parts])))

    return norm("miss") / max(norm("w"), TINY)


@dataclass
class _Last:
    """The last state of the chain, for a block of samples.

    ``u``, ``u_int``, ``u_slow``, ``error`` (S, n_L): control, its integral part, apically filtered;
    the error.  ``f`` (S, L, n_L): the filtered control after one to L somatic filters.  ``hidden``
    (S, n_L): minus the sum over hidden layers of J_i x_{i,e}; of all layers e_0 - e_e comes to it.
    ``total``, ``square`` (S, n_L): sums over time of f[:, 0] and of its square.
    """

    f: Array
    u: Array
    u_int: Array
    u_slow: Array
    error: Array
    hidden: Array
    total: Array
    square: Array


def _run_chain(M: list[Array], e0: Array, control: Control) -> _Last:
    (B, n_L), L = e0.shape, len(M)
    constants = np.array([control.dt, control.alpha, control.k_p, control.soma_step,
                          control.apical_step], e0.dtype)
    start = to_lanes(e0)
    groups, n, wide = start.shape
    g = zeros((groups, L * n, wide), e0.dtype)
    ends = [zeros(start.shape, e0.dtype) for _ in range(7)]
    chain(packed(M), start, constants, control.steps, control.delayed, control.proactive, g, *ends)
    # the last layer has one filter, the first L
    f = np.stack([from_lanes(g[:, i * n:(i + 1) * n], B, n_L) for i in reversed(range(L))], 1)
    return _Last(f, *(from_lanes(end, B, n_L) for end in ends))


def _times(matrices: Array, vectors: Array) -> Array:
    """Return the products of (B, n, n) and (B, n); one call of BLAS for each would take longer."""
    return np.einsum("bij,bj->bi", matrices, vectors)


def _last_somata(net: Network, slope: list[Array], last: _Last, e0: Array) -> list[Array]:
    """Return x_{i,e}: X_i^(k) = Q_i f_k + W_i D_{i-1} X_{i-1}^(k+1), and x_{i,e} = X_i^(1).

    The X_i^(k) of a layer are rows of one product.  A linear output layer needs none: its x is
    that of the output, e_0 - e_e.
    """
    (S, L, n_L), below, ends = last.f.shape, last.f, []
    known = net.nonlinearities[-1] == "linear"
    for i in range(L - known):
        k = L - known - i
        rows, n = S * k, net.sizes[i + 1]
        here = np.matmul(last.f[:, :k].reshape(rows, n_L), net.Q[i].T)
        if i:
            through = below[:, 1:] * slope[i - 1][:, None]
            here += np.matmul(through.reshape(rows, net.sizes[i]), net.W[i].T)
        below = here.reshape(S, k, n)
        ends.append(below[:, 0])
    return [*ends, e0 - last.error] if known else ends
