"""A rule read at one state, for methods that need no time average."""

from __future__ import annotations

import ast
import time
from itertools import pairwise

import numpy as np

from dfc_neuro.errors import EngineError
from dfc_neuro.files.dimensions import evaluate
from dfc_neuro.files.text import names
from dfc_neuro.rates import threads as pools
from dfc_neuro.rates._blocks import predicted, products
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.flat import joined, split
from dfc_neuro.rates.network import Forward, Network, Update, slopes
from dfc_neuro.rates.simulate import combined, deviation, rule_parameters

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
               apical: list[Array], dr: list[Array] | None = None,
               seen: list[Array] | None = None) -> Update:
    """Return the mean over the minibatch of a forward rule at one state.

    Each thread reads it for a part of the units of every layer.

    Parameters
    ----------
    rule : RuleKernel
        A rule of forward weights.
    net, fwd : Network, Forward
        The network and its feedforward pass.
    x, basal, apical : lists of (B, n_i)
        Deviations of soma and basal compartment from the feedforward state; apical voltage.
    dr : list of (B, n_i), optional
        Deviations of the rates, if they are known already.
    seen : list of (B, n_i), optional
        Deviations of the presynaptic rates, if they are others.
    """
    plan, F, B = rule.separated, net.dtype, len(fwd.x)
    (n, codes), slots = net.layout, len(plan.post)
    first = np.concatenate([[0], np.cumsum(n[1:])])
    p, dr = rule_parameters(rule, F), dr or deviation(net, fwd, x)
    v, r, dp = joined(fwd.v), joined(fwd.r), np.empty(B * first[-1], F)
    needed = any("gain_post" in post for post in plan.post)
    gain = joined(slopes(net, fwd)) if needed else r  # any array of the shape if it is not read
    states = [joined(part) for part in (x, basal, apical, dr)]
    inputs = _pre_factors(rule, np.ascontiguousarray(fwd.x, F).reshape(-1), p)
    pre = _pre_factors(rule, r + joined(seen or dr), p)

    def post_factors(starts: Array, ends: Array) -> Array:
        post = np.empty(slots * B * int((ends - starts).sum()), F)
        if rule.module.PREDICTS:
            predicted(first, codes, v, r, states[1], starts, ends, dp)
        rule.module.factors(first, *states, dp, r, v, gain, p, starts, ends, post)
        return post

    if rule.by_synapse:
        post_of = split(post_factors(0 * n[1:], n[1:]), [(slots, B, m) for m in n[1:]])
        pre_of = [inputs, *(pre[:, B * lo:B * hi] for lo, hi in pairwise(first))]
        return Update(
            [_by_synapse(rule, w, post_of[i], pre_of[j].reshape(len(plan.pre), B, -1))
             for w, (i, j) in zip(net.W, net.links, strict=True)],
            [post[plan.bias].mean(axis=0) if plan.bias >= 0 else np.zeros_like(b)
             for post, b in zip(post_of, net.b, strict=True)])

    db = np.zeros((slots, first[-1]), F)
    dW = np.empty((len(plan.weight), sum(w.size for w in net.W)), F)
    for c in set(range(len(dW))) - {c for c, _, _ in plan.products}:
        dW[c] = 0.0
    summed = np.array([a in plan.summed for a in range(slots)])

    def run(part: slice) -> None:  # counts in 1/1024 of the units of every layer
        starts, ends = n[1:] * part.start // 1024, n[1:] * part.stop // 1024
        products(n, net.places, rule.module.PRODUCTS, summed, starts, ends,
                 post_factors(starts, ends), pre, inputs, dW, db)

    pools.over_blocks(run, 1024, work=2.0 * B * dW.shape[1] * len(plan.products))
    shapes = [w.shape for w in net.W]
    return combined(rule, net.W, [i for i, _ in net.links], [split(part, shapes) for part in dW],
                    [split(part, [(m,) for m in net.sizes[1:]]) for part in db])


def _pre_factors(rule: RuleKernel, rates: Array, p: Array) -> Array:
    """Return the presynaptic factors of flat rates, (slots, rates); often the rates themselves."""
    if rule.separated.pre == ("rate_pre",):
        return rates[None]
    found = np.empty((len(rule.separated.pre), rates.size), rates.dtype)
    rule.module.pre_factors(rates, rates, rates, p, found.reshape(-1), rates.size)
    return found


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
