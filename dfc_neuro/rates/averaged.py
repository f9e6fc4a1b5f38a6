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
relative to the square of its mean: c.  So the error is put at 2 s + 28 s c, and after one Newton
step, whose own residual is s', at s' + 28 s (c + 0.02).  The numbers allow for what the output
does not show; on small networks of tanh and sigmoid units, for nudges of 1e-4 to 0.1 and T of 1 to
20 tau_u, the error of the update is then below three times the estimate.
Where the error of the output has grown, the loop of that sample is unstable: it is doubtful.  So
are those, largest first, without which the estimate of all the others is within the tolerance,
as long as they are few; where they are many the estimate stays too large.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dfc_neuro.rates import threads as pools
from dfc_neuro.rates._closed import average, linearise
from dfc_neuro.rates.algebra import terms
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.flat import joined, split
from dfc_neuro.rates.network import Forward, Network

Array = np.ndarray
TOLERANCE = 1e-4  # of the update, relative
FEW = 0.25  # of the samples of a minibatch that may be doubtful
OUTPUTS = 128  # widest output: a sample's matrices are n_L x n_L, and beyond it steps are faster
TINY = 1e-300  # instead of 0, to divide by
DIFFERENCES = {"mismatch_post", "somatic_difference_post", "apical_post", "v_apical_post"}
HELD = {"gain_post"}


@dataclass
class Averaged:
    """Time averages of a minibatch as deviations from the feedforward state, and the last state.

    ``x``, ``basal``, ``apical`` and ``dr``, of the rates at x, are lists of (B, n_i); ``u`` and
    ``error`` (B, n_L) belong to the last state; `doubtful` (B,) says for which samples none of this
    is to be trusted; `estimate` is the relative error that the others leave in the update; `newton`
    says whether a Newton step was taken.
    """

    x: list[Array]
    basal: list[Array]
    apical: list[Array]
    dr: list[Array]
    u: Array
    error: Array
    doubtful: Array
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
    F, (B, n_L), blocks = net.dtype, delta.shape, pools.blocks(len(delta), threads)
    total = B * sum(net.sizes[1:])
    network = (*net.layout, net.places, joined(net.W), joined(net.Q), joined(fwd.v), joined(fwd.r))
    constants = np.array([control.dt, control.alpha, control.k_p, control.soma_step,
                          control.apical_step])
    flags = np.array([control.steps, control.delayed, control.proactive], np.int64)
    shift, x, basal, apical, dr = (np.empty(total, F) for _ in range(5))
    late = np.empty(total if control.delayed else 0, F)
    u, error = np.empty((B, n_L), F), np.empty((B, n_L), F)
    w, fixed, miss, inverse = (np.zeros(shape) for shape in (*[(B, n_L)] * 3, (B, n_L, n_L)))
    sums, e0 = np.empty((B, 3)), np.ascontiguousarray(delta, F)

    def fill(block: slice) -> None:
        average(*network, control.alpha, block.start, block.stop, w, fixed, inverse, shift, late,
                miss, x, basal, apical, dr)

    def first(block: slice) -> None:
        linearise(*network, e0, constants, flags, block.start, block.stop, u, error, w,
                  fixed, inverse, shift, late, sums)
        fill(block)

    def missed() -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # where a loop is unstable
            return np.linalg.norm(miss, axis=1)

    pools.over(first, blocks, threads)
    before = missed()
    doubtful = (sums[:, 2] == 0.0) | ~np.isfinite(before)
    estimate, newton = np.inf, False
    if doubtful.sum() <= FEW * B:
        whole, squares, _ = sums[~doubtful].sum(axis=0)
        spread = max(control.steps * squares / max(whole, TINY) - 1.0, 0.0)
        size = max(float(np.linalg.norm(w[~doubtful])), TINY)
        estimate = (2.0 + 28.0 * spread) * float(np.linalg.norm(before[~doubtful])) / size
        newton = estimate >= TOLERANCE
        if newton:
            pools.over(fill, blocks, threads)
            parts = np.stack([missed(), 28.0 * (0.02 + spread) * before]) / size
            more = _with_largest(parts, doubtful)
            if more.sum() <= FEW * B:
                doubtful = more
            estimate = float(np.linalg.norm(parts[:, ~doubtful], axis=1).sum())
    shapes = [(B, n) for n in net.sizes[1:]]
    return Averaged(split(x, shapes), split(basal, shapes), split(apical, shapes),
                    split(dr, shapes), u, error, doubtful, estimate, newton)


def _with_largest(parts: Array, doubtful: Array) -> Array:
    """Add to `doubtful` the fewest samples without which the estimate is within the tolerance.

    The estimate is the sum of two norms over samples, whose `parts` are (2, B).
    """
    order = np.argsort(np.where(doubtful, np.inf, parts.sum(axis=0)))[::-1]
    squares = parts[:, order[::-1]] ** 2
    squares[:, doubtful[order[::-1]]] = 0.0
    without = np.sqrt(np.cumsum(squares, axis=1)).sum(axis=0)[::-1]  # the first k left out: [k]
    fewest = max(int(np.searchsorted(-without, -TOLERANCE, side="right")), int(doubtful.sum()))
    found = doubtful.copy()
    found[order[:fewest]] = True
    return found
