"""The mean over the noise of the feedback update, without noise and without time steps.

The derivation is in :mod:`dfc_neuro.rates.loop`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dfc_neuro.errors import EngineError, NumericalError
from dfc_neuro.rates import threads as pools
from dfc_neuro.rates._layers import layer_gains
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.flat import joined, split
from dfc_neuro.rates.loop import (
    coefficients,
    control_order,
    next_power,
    noise_order,
    recursion,
    unit,
)
from dfc_neuro.rates.network import Forward, Network, slopes

Array = np.ndarray
HIGHEST = 4  # order of the Neumann series in M_j = J_j Q_j beyond which the recursion is faster
TOLERANCE = 6e-5  # of the next order on the samples probed; keeps the minibatch below 1e-4
BLOCK = 64  # samples at a time, fewer above 16 outputs
PROBED = 8  # samples on which the orders are measured
OUTPUTS = 128  # largest output: the work per sample grows with its cube
TINY = 1e-300  # instead of 0, to divide by


@dataclass
class ExpectedUpdate:
    """The expected feedback update and how it was found.

    ``dQ`` (list of (n_i, n_L)) is an ascent direction, without decay.  ``error`` estimates its
    relative error against the exact mean of the linearised dynamics, the largest over layers,
    without rounding: 0 for ``form`` "recursion"; for "neumann" the size of the first order left
    out, on the first samples of the minibatch.
    """

    dQ: list[Array]
    error: float
    form: str


@dataclass
class Moments:
    """Sums over a minibatch, in float64: G_i = drive_i - Q_i K; ``form`` as in ExpectedUpdate.

    ``drive`` is a list of (n_i, n_L), -sum_b J_i^T C_i^T; ``K`` is (n_L, n_L).
    """

    drive: list[Array]
    K: Array
    error: float
    form: str


def check(net: Network, control: Control) -> None:
    """Refuse what has no expected update.

    Raises
    ------
    EngineError
        If the output layer is too wide, the phase has no noise, or the network skip projections.
    """
    if net.skips:
        raise EngineError("feedback", "the expected update is known for chains of layers, and the "
                          "network has skip projections", 'set feedback = "learned"')
    n_L = net.sizes[-1]
    if n_L > OUTPUTS:
        raise EngineError(
            "feedback", f"the expected update needs {n_L} x {n_L} matrices for every sample; it "
            f"is offered up to {OUTPUTS} outputs", 'set feedback = "learned"')
    if not (control.sigma or control.sigma_output):
        raise EngineError("feedback", "the phase has no noise, so its feedback update is zero",
                          "give it noise")


def check_finite(dQ: list[Array], control: Control, what: str) -> None:
    """Refuse an update that has left all numbers.

    Raises
    ------
    NumericalError
        If a part of it is not finite.
    """
    if not all(np.isfinite(part).all() for part in dQ):
        raise NumericalError(
            f"the {what} is not finite: the feedback loop is unstable within the "
            f"{control.steps - 1} steps of its phase; check the stability of Q, lower dt or k_p")


def _linear(net: Network, fwd: Forward) -> tuple[list[Array], Array, Array]:
    """Return J_i as (B n_L, n_i), M (B, n_L, L, n_L), S (B, n_L, n_L, L), from the output down."""
    (B, n), (sizes, _) = fwd.r[-1].shape, net.layout
    slope = slopes(net, fwd)
    gains, hidden = layer_gains(sizes, net.places, joined(net.W), joined(net.Q), joined(slope))
    M = np.ascontiguousarray(gains.reshape(-1, B, n, n)[::-1].transpose(1, 2, 0, 3))
    J = [slope[-1][:, :, None] * np.eye(n, dtype=net.dtype),
         *split(hidden, [(B, n, m) for m in net.sizes[1:-1]])[::-1]]
    # with copies, so that NumPy does not take its slower route for A A^T
    S = np.stack([J_i @ J_i.copy().transpose(0, 2, 1) for J_i in J], axis=3)
    return [J_i.reshape(B * n, -1) for J_i in J], M, S


def _drive(J: list[Array], C: Array) -> list[Array]:
    """Return -sum_b J_i^T C_i^T, (n_i, n_L), from the first layer up; C is (B, n_L, n_L, L)."""
    B, n, _, L = C.shape
    turned = -np.ascontiguousarray(C.transpose(3, 0, 2, 1)).reshape(L, B * n, n)
    return [(C_i.T @ J_i).T for C_i, J_i in zip(turned, J, strict=True)][::-1]


def _over(blocks: list[Forward], work: Callable, threads: int | None) -> list:
    """Apply `work` to every block, over threads; numbers that overflow are found afterwards."""
    def quiet(block: Forward):
        with np.errstate(over="ignore", invalid="ignore"):
            return work(block)

    return pools.over(quiet, blocks, threads)


def _total(found: list[tuple[list[Array], Array]]) -> tuple[list[Array], Array]:
    layers = zip(*(drive for drive, _ in found), strict=True)
    return ([np.asarray(np.sum(parts, axis=0, dtype=np.float64)) for parts in layers],
            np.asarray(np.sum([K for _, K in found], axis=0, dtype=np.float64)))


def _norm(a: Array) -> float:
    return float(np.linalg.norm(a.astype(np.float64)))


def _choose(net: Network, control: Control, fwd: Forward, terms: int | None) -> tuple[float, int]:
    """Return the relative size of the first order left out, and the order to go to.

    Without `terms` that is the least order which leaves out less than the tolerance, 0 for none.
    """
    highest = HIGHEST if terms is None else terms
    series = coefficients(control, net.depth, highest + 1)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), pools.blas(1):
        J, M, S = _linear(net, fwd)
        P = [unit(M)]
        total = _drive(J, noise_order(P, series, 0))
        for m in range(highest + 1):
            P.append(next_power(M, P[-1]))
            K = control_order(P, S, series, m)
            part = [d - Q @ K for d, Q in zip(_drive(J, noise_order(P, series, m + 1)), net.Q,
                                              strict=True)]
            error = max(_norm(a) / max(_norm(b), TINY) for a, b in zip(part, total, strict=True))
            if m and terms is None and error <= TOLERANCE:
                return error, m
            total = [a + b for a, b in zip(total, part, strict=True)]
    return error, 0 if terms is None else terms


def moments(net: Network, control: Control, fwd: Forward, *, terms: int | None = None,
            threads: int | None = None) -> Moments:
    """Return the sums over a minibatch of which the expected update is made.

    Parameters and errors are those of :func:`expected_update`.
    """
    check(net, control)
    size = max(4, min(BLOCK, BLOCK * 256 // net.sizes[-1]**2))  # bounds the memory of wide outputs
    blocks = [fwd.part(slice(lo, lo + size)) for lo in range(0, len(fwd.x), size)]
    error, order = 0.0, 0
    if terms != 0:
        error, order = _choose(net, control, fwd.part(slice(0, PROBED)), terms)
    if order:
        series = coefficients(control, net.depth, order)

        def neumann(block: Forward) -> tuple[list[Array], Array]:
            J, M, S = _linear(net, block)
            P = [unit(M)]
            C, K = noise_order(P, series, 0), np.zeros(M.shape[1::2], net.dtype)
            for m in range(order):
                P.append(next_power(M, P[-1]))
                C += noise_order(P, series, m + 1)
                K += control_order(P, S, series, m)
            return _drive(J, C), K

        return Moments(*_total(_over(blocks, neumann, threads)), error, "neumann")

    def exact(block: Forward) -> tuple[list[Array], Array]:
        J, M, S = _linear(net, block)
        C, K = recursion(control, M, S)
        return _drive(J, C), K

    return Moments(*_total(_over(blocks, exact, threads)), 0.0, "recursion")


def mean_scale(control: Control, noise_scale: float, samples: int) -> float:
    """Return what turns the sums of :func:`moments` into the update: 1 / (noise_scale^2 (T-1) B).

    Raises
    ------
    EngineError
        If `noise_scale` is not positive.
    """
    if not noise_scale > 0:
        raise EngineError("noise_scale", f"found {noise_scale!r}", "it must be positive")
    return 1.0 / (noise_scale**2 * (control.steps - 1) * samples)


def expected_update(net: Network, control: Control, fwd: Forward, *, noise_scale: float,
                    terms: int | None = None, threads: int | None = None) -> ExpectedUpdate:
    """Return the mean over the noise of the update of the feedback weights.

    That is minus v_A,i[t] u[t+1]^T / noise_scale^2, averaged over the T - 1 steps and the
    minibatch, when the network's own output is the target and the dynamics are linear around the
    feedforward point (the published noise is small: what the nonlinearity adds grows with the
    square of sigma).  Every setting of the control is allowed.

    Parameters
    ----------
    net : Network
        Weights; its dtype is that of the matrix products.
    control : Control
        Constants of the phase, with its noise.
    fwd : Forward
        Feedforward pass of the minibatch.
    noise_scale : float
        What the rule divides by, squared; max(sigma, 0.01) in the published code.
    terms : int, optional
        Order of the Neumann series in J_j Q_j, 0 for the recursion.  Without it, the least order
        up to 4 that is within 1e-4 of the recursion, or the recursion itself.
    threads : int, optional
        Threads to use; all that are available if not given.  They do not change the result.

    Returns
    -------
    ExpectedUpdate

    Raises
    ------
    EngineError
        If the output layer is wider than 128, or the phase has no noise.
    NumericalError
        If the loop grows beyond all numbers within the phase.
    """
    found = moments(net, control, fwd, terms=terms, threads=threads)
    scale = mean_scale(control, noise_scale, len(fwd.x))
    dQ = [(scale * (d - Q @ found.K)).astype(net.dtype)
          for d, Q in zip(found.drive, net.Q, strict=True)]
    check_finite(dQ, control, "expected feedback update")
    return ExpectedUpdate(dQ, found.error, found.form)
