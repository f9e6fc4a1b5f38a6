"""The phase of control, and what becomes of samples that it did not bring to a steady state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfc_neuro.methods._step import Minibatch
from dfc_neuro.rates.convergence import classify
from dfc_neuro.rates.simulate import Controlled, deviation, simulate

Array = np.ndarray


def controlled(batch: Minibatch, learn: bool, first_output: bool = False
               ) -> tuple[Controlled, Array, Array]:
    """Run the phase of control; return it with masks of converged and diverged samples.

    With `learn` the rule is averaged over time.  With `first_output`, the first error is taken
    against the output of the first sample of the minibatch for all of them, a slip of the
    published code in its memory-saving controller.  Unless the batch keeps unconverged samples,
    they contribute nothing, while the mean still counts them, as in the published code.
    """
    def run(part: Minibatch, samples: Array) -> Controlled:
        return simulate(part.net, part.control, part.fwd, part.delta,
                        rule=part.rule if learn else None, seed=part.seed, samples=samples,
                        threads=part.threads, bound=part.bound)

    end = run(batch, np.arange(len(batch.delta)))
    r_L = batch.fwd.r[-1]
    start = batch.delta + r_L - r_L[:1] if first_output else batch.delta
    error = batch.delta - deviation(batch.net, batch.fwd, end.x)[-1]
    good, bad = classify(error, end.u, r_L, start, batch.control.alpha)
    if learn and not batch.keep_unconverged and not good.all():
        if good.any():
            kept = run(replace(batch, fwd=batch.fwd.part(good), delta=batch.delta[good]),
                       np.flatnonzero(good))
            share = batch.net.dtype.type(good.mean())
            end.dW, end.db = [a * share for a in kept.dW], [a * share for a in kept.db]
        else:
            end.dW = [np.zeros_like(a) for a in end.dW]
            end.db = [np.zeros_like(a) for a in end.db]
    return end, good, bad
