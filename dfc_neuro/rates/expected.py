"""The mean over the noise of the feedback update, without noise and without time steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfc_neuro.errors import EngineError, NumericalError
from dfc_neuro.rates import threads as pools
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.loop import coefficients, control_series, noise_series, recursion
from dfc_neuro.rates.network import Forward, Network, jacobian

Array = np.ndarray
TERMS = 2  # order of the Neumann series in M_j = J_j Q_j
TOLERANCE = 1e-4  # relative size of the next order above which the recursion takes over
BLOCK = 64  # samples at a time
PROBED = 16  # samples on which the next order is measured
OUTPUTS = 128  # largest output: the work per sample grows with its cube


@dataclass
class ExpectedUpdate:
    """The expected feedback update and how it was found.

    ``dQ`` (list of (n_i, n_L)) is an ascent direction, without decay.  ``error`` estimates its
    relative error against the exact mean of the linearised dynamics, the largest over layers; it
    is 0 for ``form`` "recursion", which is exact to rounding, and the size of the next order for
    "neumann".
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
        If the output layer is too wide, or the phase has no noise.
    """
    n_L = net.sizes[-1]
    if n_L > OUTPUTS:
        raise EngineError(
            "feedback", f"the expected update needs {n_L} x {n_L} matrices for every sample; it "
            f"is offered up to {OUTPUTS} outputs", 'use feedback = "noisy"')
    if not (control.sigma or control.sigma_output):
        raise EngineError("feedback", "the phase has no noise, so its feedback update is zero",
                          "give it noise")


def _linear(net: Network, fwd: Forward) -> tuple[list[Array], Array, Array]:
    """Return J_i as (B n_L, n_i), and M and S (B, n_L, L, n_L)."""
    B, n = fwd.r[-1].shape
    J = jacobian(net, fwd)
    M = np.empty((B, n, net.depth, n), net.dtype)
    S = np.empty_like(M)
    for i, (J_i, Q_i) in enumerate(zip(J, net.Q, strict=True)):
        M[:, :, i] = (J_i.reshape(B * n, -1) @ Q_i).reshape(B, n, n)
        S[:, :, i] = J_i @ J_i.transpose(0, 2, 1)
    return [J_i.reshape(B * n, -1) for J_i in J], M, S


def _drive(J: list[Array], C: Array) -> list[Array]:
    """Return -sum_b J_i^T C_i^T of every layer, (n_i, n_L); C is (B, n_L, n_L, L)."""
    n = C.shape[1]
    turned = C.transpose(3, 0, 2, 1)
    return [-(J_i.T @ turned[i].reshape(-1, n)) for i, J_i in enumerate(J)]


def _size(parts: list[Array]) -> Array:
    return np.array([np.linalg.norm(part.astype(np.float64)) for part in parts])


def moments(net: Network, control: Control, fwd: Forward, *, terms: int | None = None,
            threads: int | None = None) -> Moments:
    """Return the sums over a minibatch of which the expected update is made.

    Parameters
    ----------
    net, control, fwd, terms, threads
        As for :func:`expected_update`.
    """
    B, order = len(fwd.x), TERMS if terms is None else terms
    blocks = [slice(lo, min(lo + BLOCK, B)) for lo in range(0, B, BLOCK)]
    series = coefficients(control, net.depth, order + 1)
    C_terms = series.noise[:order + 1]
    K_terms = {at: c for at, c in series.control.items() if sum(at) < order}
    next_terms = {at: c for at, c in series.control.items() if sum(at) == order}
    next_noise = (*(np.zeros_like(c) for c in C_terms), series.noise[-1])

    def neumann(block: slice) -> tuple[list[Array], Array, Array | None]:
        with np.errstate(over="ignore", invalid="ignore"):
            J, M, S = _linear(net, _cut(fwd, block))
            drive = _drive(J, noise_series(M, C_terms))
            K = control_series(M, S, K_terms)
            if block.start:
                return drive, K, None
            some = min(B, PROBED)
            rest = _drive([J_i[:some * net.sizes[-1]] for J_i in J],
                          noise_series(M[:some], next_noise))
            lost = control_series(M[:some], S[:some], next_terms)
            return drive, K, _size([d - Q @ lost for d, Q in zip(rest, net.Q, strict=True)]) / some

    def exact(block: slice) -> tuple[list[Array], Array, Array | None]:
        with np.errstate(over="ignore", invalid="ignore"):
            J, M, S = _linear(net, _cut(fwd, block))
            C, K = recursion(control, M, S)
            return _drive(J, C), K, None

    workers = min(threads or pools.available(), len(blocks))
    over = pools.pool(workers).map if workers > 1 else map
    with pools.blas(1):
        if order:
            found = _total(list(over(neumann, blocks)))
            neglected = next(part[2] for part in [found])
        found = _total(list(over(exact, blocks)))
    return found
