"""Print how far updates of DFC are from the exact ones: time steps, and their closed form.

``python benchmarks/step_errors.py``: the published network and minibatch in float64, with the
constants of MNIST and of Fashion-MNIST, untrained and after one epoch of DFC-SSA on Fashion-MNIST
if Debian's package is there.  Steps are held against the solution for dt to 0, the closed form
against Euler's steps, whose average it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfc_neuro.bench import Case
from dfc_neuro.bench._case import CONTROL, FEEDBACK, over
from dfc_neuro.bench._work import _rule, error
from dfc_neuro.datasets._idx import read_idx
from dfc_neuro.methods import dfc, dfc_ssa
from dfc_neuro.methods._step import Minibatch
from dfc_neuro.optimisers._optimiser import Optimiser
from dfc_neuro.rates import threads
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.expected import expected_update
from dfc_neuro.rates.losses import cross_entropy
from dfc_neuro.rates.network import Network, forward

Array = np.ndarray
CASE = Case()
SETTINGS = {  # lambda, constants
    "MNIST": (CASE.nudge, CONTROL),
    "Fashion-MNIST": (0.056066652694809475, Control(
        alpha=0.00020607985040655872, k_p=2.0, dt=0.02, steps=300, tau=0.2)),
}
FEWER = (3, 5, 10)
ADAM = {
    "W": {"name": "adam", "lr": 0.001188787000190953, "betas": [0.99, 0.99], "eps": 9.4e-8},
    "Q": {"name": "adam", "lr": 9e-4, "betas": [0.99, 0.99], "eps": 1.56e-6, "weight_decay": 1e-3,
          "clip": "global"},
}


def minibatch(net: Network, x: Array, labels: Array, nudge: float, control: Control) -> Minibatch:
    """Return the minibatch of a method."""
    fwd = forward(net, x)
    delta = cross_entropy(fwd.r[-1], labels)[1] * net.dtype.type(-nudge)
    return Minibatch(net, fwd, delta, nudge, control, _rule("W"))


def trained(net: Network) -> Network:
    """Return the network after an epoch of DFC-SSA, with a pass of Q's mean rule on either side."""
    assert CASE.images is not None
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    images, labels = (read_idx(CASE.images.with_name(name)) for name in names)
    x, labels = images.reshape(len(images), -1) / np.float32(255), labels.astype(np.int64)
    net, rng = net.astype(np.float32), np.random.default_rng(0)
    optimiser = {kind: Optimiser(options, kind) for kind, options in ADAM.items()}
    for kind in "QWQ":
        for rows in np.array_split(rng.permutation(len(x)), len(x) // CASE.batch):
            if kind == "W":
                step = dfc_ssa.update(minibatch(net, x[rows], labels[rows], CASE.nudge, CONTROL))
                optimiser["W"].apply([*net.W, *net.b], [*step.update.dW, *step.update.db])
            else:
                found = expected_update(net, FEEDBACK, forward(net, x[rows]), noise_scale=0.01)
                optimiser["Q"].apply(net.Q, found.dQ)
    return net.astype(np.float64)


def main() -> None:
    """Measure and print."""
    net, x, labels = CASE.draw()
    nets = {"untrained": net}
    if CASE.images is not None:
        nets["trained"] = trained(net)
    for setting, (nudge, control) in SETTINGS.items():
        for name, weights in nets.items():
            def update(states: int, integrator: str, weights=weights, control=control,
                       nudge=nudge) -> Array:
                own = replace(over(control, states), integrator=integrator)
                step = dfc.update(minibatch(weights, x, labels, nudge, own))
                assert not step.stepped
                return step.update.flat()

            T = control.steps
            euler, coarse, fine = (update(n, how) for n, how in
                                   ((T, "euler"), (T, "fast"), (2 * T, "fast")))
            exact = fine + (fine - coarse) / 3  # Richardson's extrapolation of the second order
            fast = [f"T {T // n}: {error(update(T // n, 'fast'), exact):.1e}" for n in FEWER]
            print(f"{setting}, {name}: Euler's steps, T {T}: {error(euler, exact):.1e}; fast "
                  f"stepping, {', '.join(fast)}; closed form against Euler's steps: "
                  f"{error(update(T, 'averaged'), euler):.1e}", flush=True)


if __name__ == "__main__":
    with threads.use(None):
        main()
