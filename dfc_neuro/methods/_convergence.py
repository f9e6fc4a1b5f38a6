"""Which samples of a controlled minibatch have converged (dfc.md 1.6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfc_neuro.methods._step import Minibatch
from dfc_neuro.rates.network import Forward
from dfc_neuro.rates.simulate import Controlled, deviation, simulate

Array = np.ndarray
CONVERGED = 1e-5  # bound on |r_L - (r_L* - alpha u)| / |r_L^-|
SHRUNK = 0.25  # bound on |e(T)| / |e(0)|


def residuals(batch: Minibatch, end: Controlled, first_output: bool = False
              ) -> tuple[Array, Array]:
    """Return d = |e - alpha u| / |r_L^-| and |e(T)| / |e(0)| for every sample, (B,) each.

    With `first_output`, e(0) is taken against the output of the first sample of the minibatch for
    all of them, a slip of the published code in its memory-saving controller.
    """
    r_L = batch.fwd.r[-1]
    start = batch.delta + r_L - r_L[:1] if first_output else batch.delta
    error = batch.delta - deviation(batch.net, batch.fwd, end.x)[-1]

    def norm(a: Array) -> Array:
        return np.linalg.norm(a.astype(np.float64), axis=1)

    with np.errstate(divide="ignore", invalid="ignore"):
        d = norm(error - batch.net.dtype.type(batch.control.alpha) * end.u) / norm(batch.fwd.r[-1])
        return d, norm(error) / norm(start)


def controlled(batch: Minibatch, learn: bool, first_output: bool = False
               ) -> tuple[Controlled, Array, Array]:
    """Run the phase of control; return it with masks of converged and diverged samples.

    With `learn` the rule is averaged over time.  Unless the batch keeps unconverged samples,
    they contribute nothing, while the mean still counts them, as in the published code.
    """
    def run(part: Minibatch) -> Controlled:
        return simulate(part.net, part.control, part.fwd, part.delta,
                        rule=part.rule if learn else None, seed=part.seed, threads=part.threads,
                        bound=part.bound)

    end = run(batch)
    d, shrunk = residuals(batch, end, first_output)
    good = (d < CONVERGED) & (shrunk < SHRUNK)
    if learn and not batch.keep_unconverged and not good.all():
        if good.any():
            kept = run(replace(batch, fwd=_some(batch.fwd, good), delta=batch.delta[good]))
            share = batch.net.dtype.type(good.mean())
            end.dW, end.db = [a * share for a in kept.dW], [a * share for a in kept.db]
        else:
            end.dW = [np.zeros_like(a) for a in end.dW]
            end.db = [np.zeros_like(a) for a in end.db]
    return end, good, d > 1.0


def _some(fwd: Forward, which: Array) -> Forward:
    return Forward(fwd.x[which], [v[which] for v in fwd.v], [r[which] for r in fwd.r])
