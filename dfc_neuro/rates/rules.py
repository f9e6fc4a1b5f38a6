"""A rule read at one state, for methods that need no time average."""

from __future__ import annotations

import ast

import numpy as np

from dfc_neuro.errors import EngineError
from dfc_neuro.files.dimensions import evaluate
from dfc_neuro.files.text import names
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.network import Forward, Network, Update, slopes
from dfc_neuro.rates.simulate import deviation, rule_parameters

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
    dr, dp = deviation(net, fwd, x), deviation(net, fwd, basal)
    rates = r or [free + d for free, d in zip(fwd.r, dr, strict=True)]
    needed = any("gain_post" in post for post in rule.separated.post)
    gain = slopes(net, fwd) if needed else fwd.r  # any array of the shape where it is not read
    p = rule_parameters(rule, net.dtype)
    plan = rule.separated
    dW, db = [], []
    for i in range(net.depth):
        B, n = x[i].shape
        post = np.empty((len(plan.post), B, n), net.dtype)
        rule.module.post_factors(
            x[i].ravel(), basal[i].ravel(), apical[i].ravel(), dr[i].ravel(), dp[i].ravel(),
            fwd.r[i].ravel(), fwd.v[i].ravel(), gain[i].ravel(), p, post.reshape(-1), B * n)
        below = np.ascontiguousarray(fwd.x if i == 0 else rates[i - 1], net.dtype)
        pre = np.empty((len(plan.pre), *below.shape), net.dtype)
        flat = below.ravel()
        rule.module.pre_factors(flat, flat, flat, p, pre.reshape(-1), below.size)
        dW.append(sum(post[a].T @ pre[c] for a, c in plan.terms) / B)
        db.append(post[plan.bias].mean(axis=0) if plan.bias >= 0 else np.zeros(n, net.dtype))
    return Update(dW, db)
