"""Deep Feedback Control: rules read all through the phase of control (time average)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfc_neuro.methods._convergence import controlled
from dfc_neuro.methods._step import Minibatch, Step
from dfc_neuro.rates.averaged import OUTPUTS, TOLERANCE, applies, time_average
from dfc_neuro.rates.convergence import classify
from dfc_neuro.rates.rules import apply_rule

USES_Q = True


def update(batch: Minibatch) -> Step:
    """Return the rule's mean over the stored states of the phase (Meulemans et al. 2021).

    With the integrator "averaged" it comes from the closed form where that applies and its
    estimated error is small, and from Euler steps otherwise, for a few samples or for all; the
    step says for how many.  A rule that runs a synapse at a time is read once, at the average of
    the states.
    """
    if batch.control.integrator == "averaged":
        step = _averaged(batch)
        if step is not None:
            return step
    end, good, bad = controlled(batch, learn=True)
    return Step(end.update, int(good.sum()), int(bad.sum()), int((~good & ~bad).sum()), end,
                stepped=len(good) if batch.control.integrator == "averaged" else 0)


def _averaged(batch: Minibatch) -> Step | None:
    net, fwd, control = batch.net, batch.fwd, batch.control
    if not (applies(batch.rule) or batch.rule.by_synapse) or control.sigma or control.sigma_output \
            or net.sizes[-1] > OUTPUTS or net.skips:
        return None
    mean = time_average(net, control, fwd, batch.delta, threads=batch.threads)
    few = mean.doubtful
    if not mean.estimate < TOLERANCE or (few.any() and batch.rule.by_synapse):
        return None
    good, bad = classify(mean.error, mean.u, fwd.r[-1], batch.delta, control.alpha)
    counted = ~few if batch.keep_unconverged else good & ~few
    parts = [mean.x, mean.basal, mean.apical, mean.dr]
    if not counted.all():
        keep = counted[:, None]
        parts = [[np.where(keep, a, net.dtype.type(0)) for a in part] for part in parts]
    found = apply_rule(batch.rule, net, fwd, *parts)
    if few.any():
        end, good[few], bad[few] = controlled(
            replace(batch, fwd=fwd.part(few), delta=batch.delta[few]), learn=True)
        share = net.dtype.type(few.mean())
        for own, stepped in ((found.dW, end.dW), (found.db, end.db)):
            for total, part in zip(own, stepped, strict=True):
                total += share * part
    return Step(found, int(good.sum()), int(bad.sum()), int((~good & ~bad).sum()),
                newton=int(mean.newton), stepped=int(few.sum()))
