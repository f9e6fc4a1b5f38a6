"""What one row of the table does with the minibatch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from dfc_neuro.bench._case import Case, Row, control, over
from dfc_neuro.files import load
from dfc_neuro.learning.planning import SMALLEST_SCALE
from dfc_neuro.methods._step import Minibatch
from dfc_neuro.optimisers._optimiser import Optimiser
from dfc_neuro.rates import threads
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.expected import expected_update
from dfc_neuro.rates.layered import layered
from dfc_neuro.rates.losses import cross_entropy
from dfc_neuro.rates.network import forward
from dfc_neuro.rates.noisy import noisy_update
from dfc_neuro.rates.simulate import simulate
from dfc_neuro.registry import get

Array = np.ndarray
STEPPED = ("dfc_ssa", "bp", "dfa")  # methods that are timed with the step of their optimiser
RATE = 1e-6  # learning rate: so small that the network stays what it is


@dataclass(frozen=True)
class Work:
    """``step()`` is what is timed; ``update()`` returns its update as one flat vector.

    ``gave_way()`` says whether the closed form of the time average was refused for time steps.
    """

    step: Callable[[], object]
    update: Callable[[], Array]
    gave_way: Callable[[], bool] = lambda: False


@lru_cache(maxsize=4)
def _rule(learn: str, noise_scale: float | None = None) -> RuleKernel:
    return layered(load("dfc_layered", "circuit")).rule(learn, noise_scale)


def flat(parts: list[Array]) -> Array:
    """Return arrays as one vector of float64."""
    return np.concatenate([np.asarray(p, np.float64).ravel() for p in parts])


def work(case: Case, row: Row) -> Work:
    """Return what a row runs: from inputs and labels to the update, for some to new weights."""
    if row.method == "torch_bp":
        from dfc_neuro.bench._torch import backprop

        return backprop(case, row)
    if row.method == "torch_dfc":
        from dfc_neuro.bench._torch import loop

        return loop(case)
    if row.feedback != "none":
        return _feedback(case, row)
    return _forward(case, row, control(case, row))


def _forward(case: Case, row: Row, constants: Control) -> Work:
    dtype = np.dtype(row.dtype)
    net, x, labels = case.draw()
    net, x = net.astype(dtype), x.astype(dtype)
    method, rule = get("methods", row.method, "bench"), _rule("W")
    optimiser = Optimiser({"name": "adam", "lr": RATE}, "bench")
    gave_way: list[bool] = []

    def learn():
        fwd = forward(net, x)
        gradient = cross_entropy(fwd.r[-1], labels)[1]
        step = method.update(Minibatch(net, fwd, gradient * dtype.type(-case.nudge), case.nudge,
                                       constants, rule, case.seed, row.threads))
        gave_way[:] = [bool(step.stepped)]
        return step.update

    def step() -> None:
        update = learn()
        if row.method in STEPPED:
            optimiser.apply([*net.W, *net.b], [*update.dW, *update.db])

    def update() -> Array:
        found = learn()
        return flat([*found.dW, *found.db])

    return Work(step, update, lambda: gave_way == [True])


def _feedback(case: Case, row: Row) -> Work:
    dtype = np.dtype(row.dtype)
    net, x, _ = case.draw()
    net, x = net.astype(dtype), x.astype(dtype)
    constants = control(case, row)
    scale = max(constants.sigma, SMALLEST_SCALE)

    def expected() -> list[Array]:
        return expected_update(net, constants, forward(net, x), noise_scale=scale,
                               threads=row.threads).dQ

    def noisy() -> list[Array]:
        fwd = forward(net, x)
        rule = _rule("Q", scale)
        if row.integrator == "averaged":
            return noisy_update(net, constants, fwd, rule, seed=case.seed, threads=row.threads)
        return simulate(net, constants, fwd, np.zeros_like(fwd.r[-1]), rule=rule,
                        seed=case.seed, threads=row.threads).dW

    learn = expected if row.feedback == "expected" else noisy
    return Work(learn, lambda: flat(learn()))


def exact(case: Case, row: Row) -> Array:
    """Return the float64 update that a row is held against.

    For DFC that is Euler's, but for fast stepping the exact solution; for the noisy feedback update
    Euler's with the same noise, for the expected one that of the recursion, for PyTorch's steps our
    own.
    """
    if row.integrator == "fast":
        return solution(case, row.threads)
    own = row.method.removeprefix("torch_")
    if row.feedback == "expected":
        net, x, _ = case.draw()
        return flat(expected_update(
            net, case.feedback, forward(net, x), terms=0, threads=row.threads,
            noise_scale=max(case.feedback.sigma, SMALLEST_SCALE)).dQ)
    integrator = "euler" if own in ("dfc", "feedback") else row.integrator
    return work(case, Row(own, row.threads, integrator, row.feedback, "float64")).update()


@lru_cache(maxsize=1)
def solution(case: Case, threads: int) -> Array:
    """Return the float64 update of DFC for dt to 0.

    By Richardson's extrapolation of steps of second order, T and 2 T of them.
    """
    row = Row("dfc", threads, "euler", dtype="float64")

    def update(states: int) -> Array:
        own = replace(over(case.control, states), integrator="fast")
        return _forward(case, row, own).update()

    coarse, fine = (update(n * case.control.steps) for n in (1, 2))
    return fine + (fine - coarse) / 3.0


def is_reference(row: Row) -> bool:
    """Return whether a row is itself what others are held against."""
    return (not row.torch and row.dtype == "float64" and row.feedback != "expected"
            and row.integrator not in ("fast", "averaged"))


def error(found: Array, expected: Array) -> float:
    """Return |found - expected| / |expected|."""
    size = np.linalg.norm(expected)
    return float(np.linalg.norm(found - expected) / size) if size else 0.0


def limits(case: Case, row: Row):
    """Return a context with the threads that training takes for the matrix products of a row."""
    return threads.use(row.threads)
