"""A layered network of rate neurons and its linear algebra at the feedforward state.

Notation of the paper: layers 1..L, r_0 the input, v_i = W_i r_{i-1} + b_i, r_i = phi_i(v_i), and
feedback weights Q_i from the controller.  Lists count layers from 0, so ``W[0]`` is W_1.
Arrays of a minibatch are (B, n_i).

A skip projection adds W_ij r_j, j < i - 1, to v_i.  Its weights stand in ``W`` after those of the
L layers, and its ends in ``skips``; ``links`` has the ends of all W.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dfc_neuro.rates import threads as pools
from dfc_neuro.rates.flat import joined, split
from dfc_neuro.rates.nonlinearities import NONLINEARITIES

Array = np.ndarray


@dataclass
class Network:
    """Weights W (n_i, n_{i-1}), biases b (n_i,), feedback weights Q (n_i, n_L), nonlinearities.

    ``skips`` are pairs (i, j): layer i, counted from 0, reads the rates r_j as well, j < i, by
    weights (n_i, n_j) that follow those of the layers in ``W``.
    """

    W: list[Array]
    b: list[Array]
    Q: list[Array]
    nonlinearities: tuple[str, ...]
    skips: tuple[tuple[int, int], ...] = ()

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """n_0, ..., n_L."""
        return (self.W[0].shape[1], *(w.shape[0] for w in self.W[:self.depth]))

    @cached_property
    def layout(self) -> tuple[Array, Array]:
        """n_0, ..., n_L, and the numbers of the nonlinearities, as the kernels take them."""
        return (np.array(self.sizes, np.int64),
                np.array([NONLINEARITIES[n].code for n in self.nonlinearities], np.int64))

    @cached_property
    def places(self) -> Array:
        """Of each W its layer, j of the rates r_j that it reads, and where it begins in a vector of
        all W: (K, 3).
        """
        starts = np.cumsum([0, *(w.size for w in self.W[:-1])])
        return np.column_stack([np.array(self.links), starts])

    @property
    def depth(self) -> int:
        """L, the number of layers with weights."""
        return len(self.b)

    @property
    def links(self) -> list[tuple[int, int]]:
        """For each of W the layer, from 0, and the number j of the rates r_j that it reads."""
        return [*((i, i) for i in range(self.depth)), *self.skips]

    @property
    def names(self) -> list[str]:
        """Names of W: W1, ..., and for a skip projection Wi_j, W3_0 from the input to layer 3."""
        return [f"W{i + 1}" if i == j else f"W{i + 1}_{j}" for i, j in self.links]

    def named(self) -> dict[str, Array]:
        """Return W, b and Q by name: W1, ..., b1, ..., Q1, ..."""
        return dict(zip(self.names, self.W, strict=True)) | {
            f"{name}{i}": a for name in ("b", "Q") for i, a in enumerate(getattr(self, name), 1)}

    def skips_to(self, layer: int) -> list[tuple[int, Array]]:
        """Return the skip projections to a layer: j of the rates r_j read, and weights."""
        return [(j, w) for (i, j), w in zip(self.skips, self.W[self.depth:], strict=True)
                if i == layer]

    def skips_from(self, j: int) -> list[tuple[int, Array]]:
        """Return the skip projections that read r_j: their layer and weights."""
        return [(i, w) for (i, source), w in zip(self.skips, self.W[self.depth:], strict=True)
                if source == j]

    @property
    def dtype(self) -> np.dtype:
        return self.W[0].dtype

    def astype(self, dtype) -> Network:
        """Return a copy in another precision."""
        W, b, Q = (split(joined([np.array(a, dtype=dtype) for a in part]), [a.shape for a in part])
                   for part in (self.W, self.b, self.Q))
        return Network(W, b, Q, self.nonlinearities, self.skips)


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
    from dfc_neuro.rates import _layers

    B, F = len(x), net.dtype
    v, r = (np.empty(B * sum(net.sizes[1:]), F) for _ in range(2))
    network = (*net.layout, net.places, joined(net.W), joined(net.b))
    inputs = np.ascontiguousarray(x, F).reshape(-1)

    def run(block: slice) -> None:
        _layers.forward(*network, inputs, v, r, block.start, block.stop)

    pools.over_blocks(run, B, work=_work(net, B))
    shapes = [(B, n) for n in net.sizes[1:]]
    return Forward(x, split(v, shapes), split(r, shapes))


def _work(net: Network, samples: int) -> float:
    """Floating-point operations of a forward pass."""
    return 2.0 * samples * sum(w.size for w in net.W)


def slopes(net: Network, fwd: Forward) -> list[Array]:
    """Return phi_i'(v_i^-), a list of (B, n_i)."""
    return [NONLINEARITIES[name].slope(v, r)
            for name, v, r in zip(net.nonlinearities, fwd.v, fwd.r, strict=True)]


def jacobian(net: Network, fwd: Forward) -> list[Array]:
    """Return J_i = d r_L / d v_i at the feedforward state, a list of (B, n_L, n_i).

    J_L = diag(phi_L'), J_i = (J_{i+1} W_{i+1} + sum_k J_k W_ki) diag(phi_i'), k > i + 1.
    """
    return jacobian_of(net, slopes(net, fwd))


def jacobian_of(net: Network, slope: list[Array]) -> list[Array]:
    """Return :func:`jacobian` for slopes phi_i'(v_i), a list of (B, n_i)."""
    n_L = net.sizes[-1]
    J = [slope[-1][:, :, None] * np.eye(n_L, dtype=net.dtype)]
    for i in range(net.depth - 2, -1, -1):
        above = [(i + 1, net.W[i + 1]), *net.skips_from(i + 1)]
        parts = [J[k - i - 1].reshape(-1, net.sizes[k + 1]) @ w for k, w in above]
        below = sum(parts[1:], parts[0]).reshape(-1, n_L, net.sizes[i + 1])
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
            for k, w in net.skips_from(i):
                errors[i - 1][block] += errors[k][block] @ w
            errors[i - 1][block] *= slope[i - 1]

    pools.over_blocks(run, len(fwd.x), work=_work(net, len(fwd.x)))
    pre = fwd.presynaptic
    dW = pools.outer_sums([(errors[i], pre[j]) for i, j in net.links])
    return Update(dW, [error.sum(axis=0) for error in errors])
