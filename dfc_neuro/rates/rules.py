"""A rule read at one state, for methods that need no time average."""

from __future__ import annotations

import ast

import numpy as np

from dfc_neuro.errors import EngineError
from dfc_neuro.files.dimensions import evaluate
from dfc_neuro.files.text import names
from dfc_neuro.rates import threads as pools
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.network import Forward, Network, Update, slopes
from dfc_neuro.rates.simulate import phi_deviation, rule_parameters

Array = np.ndarray


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
    if plan.pre == ("u_next_pre",) and plan.terms == ((0, 0),) and plan.bias < 0:
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

    def run(block: slice) -> None:
        def of(part: Array) -> Array:
            return part[block].reshape(-1)

        below = of(np.ascontiguousarray(fwd.x, F))
        for i, name in enumerate(net.nonlinearities):
            n, m = net.sizes[i + 1], net.sizes[i]
            rule.module.pre_factors(below, below, below, p, pre[i].reshape(-1)[block.start * m:],
                                    B * m)
            v, free = of(fwd.v[i]), of(fwd.r[i])
            dr, dp = (phi_deviation(name, v, free, of(part[i])) for part in (x, basal))
            rule.module.post_factors(of(x[i]), of(basal[i]), of(apical[i]), dr, dp, free, v,
                                     of(gain[i]), p, post[i].reshape(-1)[block.start * n:], B * n)
            below = of(r[i]) if r else free + dr

    pools.over_blocks(run, B, work=2.0 * B * sum(w.size for w in net.W))
    products = pools.outer_sums([(post[i][a], pre[i][c]) for i in range(net.depth)
                                 for a, c in plan.terms])
    per, mean = len(plan.terms), F.type(1.0 / B)
    dW = [mean * sum(products[i * per + 1:(i + 1) * per], products[i * per])
          for i in range(net.depth)]
    db = [part[plan.bias].mean(axis=0) if plan.bias >= 0 else np.zeros(part.shape[2], F)
          for part in post]
    return Update(dW, db)
