"""What is measured: a network, a minibatch, the constants of both phases; and its operations."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Network

Array = np.ndarray
FEWER = 5  # the fast integrator takes so many times fewer states than Euler's
NOISE = 0.001524181852173024
CONTROL = Control(alpha=0.0013890445062125412, k_p=2.0, dt=0.02, steps=1000, tau=0.2,
                  proactive=True)
FEEDBACK = Control(alpha=0.6133635688698066, k_p=0.1565387776131571, dt=0.0020299480251123815,
                   steps=48, tau=0.00630250312119787, tau_A=0.32469417320648936, sigma=NOISE,
                   sigma_output=NOISE)


@dataclass(frozen=True)
class Case:
    """The default is the published MNIST network with its constants.

    Parameters
    ----------
    sizes : tuple of int
        n_0, ..., n_L; hidden layers are tanh, the output is linear.
    batch : int
        B, samples of the minibatch.
    nudge : float
        lambda, the step of the output target.
    control, feedback : Control
        Constants of the phases in which W and Q learn.
    gemm : int
        Rows and columns of the matrices whose product gives the machine's rate.
    seed : int
        Of weights, noise, and inputs where they are random.
    """

    sizes: tuple[int, ...] = (784, 256, 256, 256, 10)
    batch: int = 128
    nudge: float = 0.07794471150634391
    control: Control = CONTROL
    feedback: Control = FEEDBACK
    gemm: int = 2048
    seed: int = 0

    def table(self) -> dict[str, Any]:
        """Return all of it as plain numbers and texts."""
        return asdict(self)

    @classmethod
    def of(cls, table: dict[str, Any]) -> Case:
        """Return the case that `table` was made of."""
        return cls(**{**table, "sizes": tuple(table["sizes"]),
                      "control": Control(**table["control"]),
                      "feedback": Control(**table["feedback"])})

    @property
    def images(self) -> Path | None:
        """The test images of Fashion-MNIST where Debian puts them, if they are there and fit."""
        from dfc_neuro.datasets._images import SETS

        path = Path(SETS["fashion_mnist"].folder) / "t10k-images-idx3-ubyte.gz"
        fits = self.sizes[0] == 784 and self.sizes[-1] == 10 and self.batch <= 10000
        return path if fits and path.is_file() else None

    def draw(self) -> tuple[Network, Array, Array]:
        """Return the network, inputs (B, n_0) and labels (B,), in float64.

        W and the Q of hidden layers are xavier_normal, Q_L = I, biases 0.  Inputs are the first
        test images of Fashion-MNIST over 255, or uniform in 0..1 with random labels.
        """
        from dfc_neuro.datasets._idx import read_idx
        from dfc_neuro.initialisers import xavier_normal
        from dfc_neuro.initialisers._shape import Place

        rng = np.random.default_rng(self.seed)
        n_L = self.sizes[-1]
        W = [xavier_normal.draw(Place(n, m), rng)
             for n, m in zip(self.sizes[1:], self.sizes, strict=False)]
        Q = [xavier_normal.draw(Place(n, n_L), rng) for n in self.sizes[1:-1]] + [np.eye(n_L)]
        names = ("tanh",) * (len(W) - 1) + ("linear",)
        net = Network(W, [np.zeros(n) for n in self.sizes[1:]], Q, names)
        path = self.images
        if path is None:
            return (net, rng.random((self.batch, self.sizes[0])),
                    rng.integers(0, n_L, self.batch))
        grey = read_idx(path)[:self.batch]
        labels = read_idx(path.with_name("t10k-labels-idx1-ubyte.gz"))[:self.batch]
        return net, grey.reshape(self.batch, -1) / 255.0, labels.astype(np.int64)


@dataclass(frozen=True)
class Row:
    """One line of the table; ``fused`` belongs to PyTorch's Adam."""

    method: str
    threads: int
    integrator: str = "none"
    feedback: str = "none"
    dtype: str = "float32"
    fused: bool = False

    @property
    def torch(self) -> bool:
        return self.method.startswith("torch")


def over(own: Control, states: int) -> Control:
    """Return the constants with so many states over the same time, T dt."""
    return replace(own, dt=own.dt * own.steps / states, steps=states)


def control(case: Case, row: Row) -> Control:
    """Return the constants of a row's phase."""
    if row.feedback != "none":
        return case.feedback
    own = case.control
    if row.integrator == "fast":
        own = over(own, max(own.steps // FEWER, 2))
    return own if row.integrator == "none" else replace(own, integrator=row.integrator)


def steps(case: Case, row: Row) -> int:
    """Return T, the number of states of a row's phase; 0 where it has none."""
    return 0 if row.integrator == row.feedback == "none" else control(case, row).steps


def operations(case: Case, row: Row) -> float | None:
    """Return the floating-point operations of the matrix products that a row cannot do without.

    A time step of DFC costs the forward sweep without layer 1, whose drive is constant, the drive
    Q u of every layer, and the products of the update without layer 1.  The closed forms have no
    count: None.
    """
    n, B, T = case.sizes, case.batch, steps(case, row)
    inner = sum(a * b for a, b in zip(n[2:], n[1:], strict=False))  # sum_{i>=2} n_i n_{i-1}
    whole = inner + n[1] * n[0]
    control_ = n[-1] * sum(n[1:])  # one product with all Q
    if row.method in ("dfc", "torch_dfc"):
        return None if row.integrator == "averaged" else 2.0 * B * (T - 1) * (2 * inner + control_)
    if row.method == "dfc_ss":
        return 2.0 * B * (T - 1) * (inner + control_)
    if row.method == "feedback":
        return None if row.integrator != "euler" else 2.0 * B * (T - 1) * (inner + 2 * control_)
    if row.method == "dfa":  # forward, update, targets of hidden layers
        return 2.0 * B * (2 * whole + control_ - n[-1] ** 2)
    if row.method == "dfc_ssa":  # forward, update, sweep, Q u; J_i W_i and J_i Q_i below the output
        return 2.0 * B * (2 * whole + inner + control_
                          + n[-1] * (inner - n[-1] * n[-2] + control_ - n[-1] ** 2))
    return 2.0 * B * (2 * whole + inner)  # backpropagation
