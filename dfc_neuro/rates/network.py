"""A layered network of rate neurons and its linear algebra at the feedforward state.

Notation of the paper: layers 1..L, r_0 the input, v_i = W_i r_{i-1} + b_i, r_i = phi_i(v_i), and
feedback weights Q_i from the controller.  Lists count layers from 0, so ``W[0]`` is W_1.
Arrays of a minibatch are (B, n_i).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfc_neuro.rates import threads as pools
from dfc_neuro.rates.nonlinearities import NONLINEARITIES

Array = np.ndarray


@dataclass
class Network:
    """Weights W (n_i, n_{i-1}), biases b (n_i,), feedback weights Q (n_i, n_L), nonlinearities."""

    W: list[Array]
    b: list[Array]
    Q: list[Array]
    nonlinearities: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """n_0, ..., n_L."""
        return (self.W[0].shape[1], *(w.shape[0] for w in self.W))

    @property
    def depth(self) -> int:
        """L, the number of layers with weights."""
        return len(self.W)

    @property
    def dtype(self) -> np.dtype:
        return self.W[0].dtype

    def astype(self, dtype) -> Network:
        """Return a copy in another precision."""
        W, b, Q = ([np.array(a, dtype=dtype, order="C") for a in part]
                   for part in (self.W, self.b, self.Q))
        return Network(W, b, Q, self.nonlinearities)


@dataclass
class Update:
    """An ascent direction: what is added to W and b before any learning rate."""

    dW: list[Array]
    db: list[Array]

    def flat(self) -> Array:
        """All of it as one vector."""
        return np.concatenate([a.ravel() for a in (*self.dW, *self.db)])


@dataclass
class Forward:
    """The feedforward pass: input x, voltages v_i^-, rates r_i^-."""

    x: Array
    v: list[Array]
    r: list[Array]

    def part(self, which: Array | slice) -> Forward:
        """Return the pass of some of the samples."""
        return Forward(self.x[which], [v[which] for v in self.v], [r[which] for r in self.r])

    @property
    def presynaptic(self) -> list[Array]:
        """r_0, ..., r_{L-1}."""
        return [self.x, *self.r[:-1]]


def forward(net: Network, x: Array) -> Forward:
    """Run the network without control: v_i = W_i r_{i-1} + b_i, r_i = phi_i(v_i)."""
    v = [np.empty((len(x), n), net.dtype) for n in net.sizes[1:]]
    r = [np.empty_like(part) for part in v]

    def run(block: slice) -> None:
        below = x[block]
        for i, name in enumerate(net.nonlinearities):
            np.matmul(below, net.W[i].T, out=v[i][block])
            v[i][block] += net.b[i]
            r[i][block] = NONLINEARITIES[name].phi(v[i][block])
            below = r[i][block]

    pools.over_blocks(run, len(x), work=_work(net, len(x)))
    return Forward(x, v, r)


def _work(net: Network, samples: int) -> float:
    """Floating-point operations of a forward pass."""
    return 2.0 * samples * sum(w.size for w in net.W)


def slopes(net: Network, fwd: Forward) -> list[Array]:
    """Return phi_i'(v_i^-), a list of (B, n_i)."""
    return [NONLINEARITIES[name].slope(v, r)
            for name, v, r in zip(net.nonlinearities, fwd.v, fwd.r, strict=True)]


def jacobian(net: Network, fwd: Forward) -> list[Array]:
    """Return J_i = d r_L / d v_i at the feedforward state, a list of (B, n_L, n_i).

    J_L = diag(phi_L'), J_i = J_{i+1} W_{i+1} diag(phi_i').
    """
    slope = slopes(net, fwd)
    J = [slope[-1][:, :, None] * np.eye(net.sizes[-1], dtype=net.dtype)]
    for i in range(net.depth - 2, -1, -1):
        B, n_L, n = J[0].shape
        below = (J[0].reshape(B * n_L, n) @ net.W[i + 1]).reshape(B, n_L, -1)
        below *= slope[i][:, None, :]
        J.insert(0, below)
    return J


def backprop(net: Network, fwd: Forward, delta: Array) -> Update:
    """Return minus the loss gradient for delta = -dLoss/dr_L (B, n_L), summed over the batch."""
    errors = [np.empty_like(v) for v in fwd.v]

    def run(block: slice) -> None:
        slope = slopes(net, fwd.part(block))
        np.multiply(delta[block], slope[-1], out=errors[-1][block])
        for i in range(net.depth - 1, 0, -1):
            np.matmul(errors[i][block], net.W[i], out=errors[i - 1][block])
            errors[i - 1][block] *= slope[i - 1]

    pools.over_blocks(run, len(fwd.x), work=_work(net, len(fwd.x)))
    dW = pools.outer_sums(list(zip(errors, fwd.presynaptic, strict=True)))
    return Update(dW, [error.sum(axis=0) for error in errors])
