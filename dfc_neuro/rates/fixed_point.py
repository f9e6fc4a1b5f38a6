"""The feedback weights at which training by the expected update ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfc_neuro.errors import EngineError, NumericalError
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.expected import mean_scale, moments
from dfc_neuro.rates.network import Forward, Network

Array = np.ndarray


@dataclass
class FixedPoint:
    """Feedback weights at rest.

    ``Q`` (list of (n_i, n_L)) holds every layer, those that do not learn as they were;
    ``iterations`` were needed, and ``change`` is the relative size of the last one.
    """

    Q: list[Array]
    iterations: int
    change: float


def fixed_point(net: Network, control: Control, batches: Forward | Sequence[Forward], *,
                weight_decay: float, noise_scale: float, trained: Sequence[int] | None = None,
                tolerance: float = 1e-6, iterations: int = 20, threads: int | None = None
                ) -> FixedPoint:
    """Solve for the feedback weights where the expected update and weight decay cancel.

    The expected update is D_i(Q) - Q_i K(Q), means over the samples; with decay it vanishes at
    Q_i = D_i (K + weight_decay)^-1, which is iterated from the network's own Q.

    Parameters
    ----------
    net : Network
        Weights; not changed.  W is held fixed.
    control : Control
        Constants of the feedback phase, with its noise.
    batches : Forward or sequence of Forward
        Feedforward passes of the samples; every sample counts alike.
    weight_decay : float
        What the optimiser adds to the gradient, in units of Q.
    noise_scale : float
        As for :func:`~dfc_neuro.rates.expected.expected_update`.
    trained : sequence of int, optional
        Layers, from 0, whose Q learns; all if not given.
    tolerance : float
        Relative change of Q at which the iteration ends.
    iterations : int
        How many are allowed.
    threads : int, optional
        Threads to use; all that are available if not given.

    Returns
    -------
    FixedPoint

    Raises
    ------
    EngineError
        If the decay is negative, or so small that K + weight_decay has no inverse; and where
        there is no expected update.
    NumericalError
        If Q has not come to rest within `iterations`.
    """
    if weight_decay < 0:
        raise EngineError("weight_decay", f"found {weight_decay:g}", "it cannot be negative")
    passes = [batches] if isinstance(batches, Forward) else list(batches)
    learns = range(net.depth) if trained is None else sorted(trained)
    scale = mean_scale(control, noise_scale, sum(len(fwd.x) for fwd in passes))
    here = Network(net.W, net.b, list(net.Q), net.nonlinearities)
    change = np.inf
    for done in range(1, iterations + 1):
        found = [moments(here, control, fwd, threads=threads) for fwd in passes]
        K = scale * np.sum([part.K for part in found], axis=0)
        system = K + weight_decay * np.eye(len(K))
        _check(system, weight_decay, done, net.dtype)
        moved = size = 0.0
        for i in learns:
            drive = scale * np.sum([part.drive[i] for part in found], axis=0)
            Q = np.linalg.solve(system.T, drive.T).T
            moved += float(np.sum((Q - here.Q[i]) ** 2))
            size += float(np.sum(Q**2))
            here.Q[i] = np.ascontiguousarray(Q, net.dtype)
        change = float(np.sqrt(moved / size)) if size else 0.0
        if change <= tolerance:
            return FixedPoint(here.Q, done, change)
    raise NumericalError(
        f"the feedback weights have not come to rest after {iterations} iterations (relative "
        f"change of the last one {change:.2g}, wanted {tolerance:g}): raise weight_decay "
        f"(now {weight_decay:g}), shorten the phase, or train them with feedback = 'expected'")


def _check(system: Array, weight_decay: float, iteration: int, dtype: np.dtype) -> None:
    if not np.isfinite(system).all():
        raise NumericalError(
            f"the covariance of the control is not finite in iteration {iteration} of the feedback "
            "weights: the feedback loop is unstable; raise weight_decay, or lower dt or k_p")
    if not np.linalg.cond(system) < 1.0 / (len(system) * np.finfo(dtype).eps):
        raise EngineError(
            "weight_decay", f"is {weight_decay:g}, and the noise does not reach every direction of "
            "the output: the feedback weights have no single resting point",
            "give the optimiser of Q a weight_decay above 0")
