"""A rule read at one state, for methods that need no time average."""

from __future__ import annotations

import ast
import time

import numpy as np

from dfc_neuro.errors import EngineError
from dfc_neuro.files.dimensions import evaluate
from dfc_neuro.files.text import names
from dfc_neuro.rates import threads as pools
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.network import Forward, Network, Update, slopes
from dfc_neuro.rates.simulate import combined, phi_deviation, rule_parameters

Array = np.ndarray
MEASURED = 1_000_000  # evaluations of a rule that are timed


def apical_control_factor(rule: RuleKernel, where: str = "the feedback rule") -> float:
    """Return c of a feedback rule dw/dt = c v_apical u_next, c negative.

    The mean of such a rule over the noise is known without any noise.

    Raises
    ------
    EngineError
        If the rule is another.
    """
    plan = rule.separated
    values = dict(zip(rule.names, rule.parameters, strict=True))
    if plan.pre == ("u_next_pre",) and plan.products == ((0, 0, 0),) and not plan.rows \
            and plan.bias < 0:
        tree = ast.parse(plan.post[0], mode="eval").body
        found = [evaluate(tree, {**values, "apical_post": a}) for a in (0.0, 1.0, 2.0)] \
            if names(tree) <= {*values, "apical_post"} else [1.0]
        if found[0] == 0.0 and found[1] < 0 and np.isclose(found[2], 2 * found[1], rtol=1e-12):
            return found[1]
    raise EngineError(where, "is not minus the apical voltage times the next control, so its mean "
                      "is not known in closed form", 'set feedback = "learned"')


def apply_rule(rule: RuleKernel, net: Network, fwd: Forward, x: list[Array], basal: list[Array],
               apical: list[Array], r: list[Array] | None = None) -> Update:
    """Return the mean over the minibatch of a forward rule at one state.

    Parameters
    ----------
    rule : RuleKernel
        A rule of forward weights.
    net, fwd : Network, Forward
        The network and its feedforward pass.
    x, basal, apical : lists of (B, n_i)
        Deviations of soma and basal compartment from the feedforward state; apical voltage.
    r : list of (B, n_i), optional
        Presynaptic rates r_1..r_{L-1} where they are not those of `x`.
    """
    plan, p, F = rule.separated, rule_parameters(rule, net.dtype), net.dtype
    B = len(fwd.x)
    needed = any("gain_post" in post for post in plan.post)
    gain = slopes(net, fwd) if needed else fwd.r  # any array of the shape where it is not read
    post = [np.empty((len(plan.post), B, n), F) for n in net.sizes[1:]]
    pre = [np.empty((len(plan.pre), B, n), F) for n in net.sizes[:-1]]
    x_0 = np.ascontiguousarray(fwd.x, F)
    inputs = plan.pre == ("rate_pre",)  # the factor of the first layer is its input
    if inputs:
        pre[0] = x_0[None]

    def run(block: slice) -> None:
        def of(part: Array) -> Array:
            return part[block].reshape(-1)

        below = of(x_0)
        for i, name in enumerate(net.nonlinearities):
            n, m = net.sizes[i + 1], net.sizes[i]
            if i or not inputs:
                rule.module.pre_factors(below, below, below, p,
                                        pre[i].reshape(-1)[block.start * m:], B * m)
            v, free = of(fwd.v[i]), of(fwd.r[i])
            dr, dp = (phi_deviation(name, v, free, of(part[i])) for part in (x, basal))
            rule.module.post_factors(of(x[i]), of(basal[i]), of(apical[i]), dr, dp, free, v,
                                     of(gain[i]), p, post[i].reshape(-1)[block.start * n:], B * n)
            below = of(r[i]) if r else free + dr

    pools.over_blocks(run, B, work=10.0 * B * sum(net.sizes))  # threads wait for short calls
    mean = F.type(1.0 / B)
    sums = [[mean * part[a].sum(axis=0) if a in plan.summed else part[a][0] for part in post]
            for a in range(len(plan.post))]
    if rule.by_synapse:
        db = sums[plan.bias] if plan.bias >= 0 else [np.zeros_like(b, F) for b in net.b]
        return Update([_by_synapse(rule, w, post[i], pre[j])
                       for w, (i, j) in zip(net.W, net.links, strict=True)], db)
    found = pools.outer_sums([(post[i][a], pre[j][b]) for _, a, b in plan.products
                              for i, j in net.links])
    products: list[list[Array]] = [[] for _ in plan.weight]
    for k, (c, _, _) in enumerate(plan.products):
        parts = found[k * len(net.W):(k + 1) * len(net.W)]
        for part in parts:
            part *= mean
        products[c] = [a + b for a, b in zip(products[c], parts, strict=True)] \
            if products[c] else parts
    products[0] = products[0] or [np.zeros_like(w) for w in net.W]
    return combined(rule, net.W, [i for i, _ in net.links], products, sums)


def seconds_by_synapse(rule: RuleKernel, net: Network, samples: int) -> float:
    """Return how long a rule that is read a synapse at a time takes for a minibatch.

    From a short measurement, on one thread, of the layer that has most synapses.
    """
    w = max(net.W, key=lambda w: w.size)
    B, rows = min(samples, 16), max(1, MEASURED // (16 * w.shape[1]))
    rng = np.random.default_rng(0)
    w = w[:rows]
    post, pre = (rng.normal(size=(len(part), B, n)).astype(w.dtype) for part, n in
                 zip((rule.separated.post, rule.separated.pre), w.shape, strict=True))
    taken = []
    for _ in range(3):  # the first may compile
        start = time.perf_counter()
        _by_synapse(rule, w, post, pre, threads=1)
        taken.append(time.perf_counter() - start)
    total = samples * sum(w.size for w in net.W)
    return min(taken) * total / (B * w.size) / pools.available()


def error_in_precision(rule: RuleKernel, net: Network, fwd: Forward, x: list[Array],
                       basal: list[Array], apical: list[Array]) -> float:
    """Return how far a rule at one state is from itself in float64, relative to its size."""
    found = apply_rule(rule, net, fwd, x, basal, apical).flat()
    wide = [[a.astype(np.float64) for a in part] for part in (fwd.v, fwd.r, x, basal, apical)]
    exact = apply_rule(rule, net.astype(np.float64),
                       Forward(fwd.x.astype(np.float64), *wide[:2]), *wide[2:]).flat()
    size = float(np.linalg.norm(exact))
    return float(np.linalg.norm(found - exact)) / size if size else 0.0


def _by_synapse(rule: RuleKernel, w: Array, post: Array, pre: Array,
                threads: int | None = None) -> Array:
    """Return the mean over samples of dw/dt, (n, m), of factors (slots, B, n) and (slots, B, m)."""
    n, m = w.shape
    B = post.shape[1]
    out = np.empty((n, m), w.dtype)
    p, flat = rule_parameters(rule, w.dtype), np.ascontiguousarray(w).ravel()

    def run(rows: slice) -> None:
        rule.module.synapses(post.reshape(-1), pre.reshape(-1), flat, p, out.reshape(-1), B, n, m,
                             rows.start, rows.stop)

    pools.over_blocks(run, n, threads, work=10.0 * B * n * m)
    out *= w.dtype.type(1.0 / B)
    return out
