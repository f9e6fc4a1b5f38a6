"""DFC-SS: rules read once, at the last state of the phase of control."""

from __future__ import annotations

import numpy as np

from dfc_neuro.methods._convergence import controlled
from dfc_neuro.methods._step import Minibatch, Step
from dfc_neuro.rates.rules import apply_rule
from dfc_neuro.rates.simulate import deviation

USES_Q = True


def update(batch: Minibatch) -> Step:
    """Return the rule at the last state.

    The basal voltage is computed anew from the last presynaptic rates, and the somatic one set to
    it plus the last difference of the two, as in the published code; with instant transmission
    that changes nothing.
    """
    net, fwd = batch.net, batch.fwd
    end, good, bad = controlled(batch, learn=False, first_output=batch.as_published)
    x, basal, apical = end.x, end.basal, end.apical
    if not batch.keep_unconverged and not good.all():
        keep = good[:, None].astype(net.dtype)
        x, basal, apical = ([a * keep for a in part] for part in (x, basal, apical))
    dr = deviation(net, fwd, x)
    anew = [np.zeros_like(basal[0])] + [dr[i - 1] @ net.W[i].T for i in range(1, net.depth)]
    for (i, j), w in zip(net.skips, net.W[net.depth:], strict=True):
        if j:
            anew[i] += dr[j - 1] @ w.T
    somata = [a - old + new for a, old, new in zip(x, basal, anew, strict=True)]
    step = apply_rule(batch.rule, net, fwd, somata, anew, apical, seen=dr)
    return Step(step, int(good.sum()), int(bad.sum()), int((~good & ~bad).sum()), end)
