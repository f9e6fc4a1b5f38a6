"""Time the authors' public code beside the closed form, and compare their updates.

``python benchmarks/authors_code.py FOLDER``: FOLDER is a checkout of
github.com/meulemansalex/deep_feedback_control.  It needs PyTorch, pandas and matplotlib; of
torchvision and tensorboardX, which it imports but which a minibatch does not use, stand-ins are
given to it.  Network, minibatch and constants are those of ``dfc-neuro bench``; theirs are read
from their own configuration files, run in float64, their default.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from closed_form import beside
from step_errors import CASE, SETTINGS, trained

from dfc_neuro.bench._case import Case, Row
from dfc_neuro.bench._work import error, flat, work
from dfc_neuro.rates import threads
from dfc_neuro.rates.network import Network

CONFIGURATIONS = {"MNIST": "configs_mnist.mnist_dfc", "Fashion-MNIST": "configs_fmnist.fmnist_dfc"}
Array = np.ndarray


def stand_ins() -> None:
    """Register empty modules for what a minibatch does not use."""
    named = {"torchvision": (), "torchvision.transforms": (), "torchvision.utils": ("save_image",),
             "torchvision.datasets": ("MNIST", "FashionMNIST"), "tensorboardX": ("SummaryWriter",)}
    for name, classes in named.items():
        module = types.ModuleType(name)
        for one in classes:
            setattr(module, one, type(one, (), {}))
        sys.modules[name] = module
        if "." in name:
            setattr(sys.modules["torchvision"], name.rpartition(".")[2], module)


@dataclass(frozen=True)
class Trained(Case):
    """The same case, with the weights after an epoch of training."""

    def draw(self) -> tuple[Network, Array, Array]:
        _, x, labels = super().draw()
        return _trained(), x, labels


@lru_cache(maxsize=1)
def _trained() -> Network:
    return trained(CASE.draw()[0]).astype(np.float64)


def theirs(case: Case, name: str, logs: str
           ) -> tuple[Callable[[], object], Callable[[], Array], Callable[[], object]]:
    """Return what takes a minibatch of their training, its update, and one that trains Q."""
    configuration = {**importlib.import_module(f"configs.{CONFIGURATIONS[name]}").config,
                     "clip_grad_norm": -1,  # the update is compared as it is
                     "include_non_converged_samples": True,
                     "out_dir": logs}
    sys.argv = ["main.py", *(f"--{key}" if value is True else f"--{key}={value}"
                             for key, value in configuration.items() if value is not False)]
    arguments = importlib.import_module("utils.args").parse_cmd_arguments()
    assert arguments.double_precision, "their default is float64"
    torch.set_default_dtype(torch.float64)
    own = importlib.import_module("utils.builders").build_network(arguments)
    train = importlib.import_module("utils.train")
    optimiser = importlib.import_module("utils.utils").choose_optimizer(arguments, own)[0]
    net, x, labels = case.draw()
    with torch.no_grad():
        for layer, W, b, Q in zip(own.layers, net.W, net.b, net.Q, strict=True):
            layer.weights.copy_(torch.from_numpy(W))
            layer.bias.copy_(torch.from_numpy(b))
            layer.feedbackweights.copy_(torch.from_numpy(Q))
    images, targets = torch.from_numpy(x), torch.from_numpy(labels)

    def minibatch() -> None:
        predictions = own.forward(images)
        train.train_forward_parameters(arguments, own, predictions, targets,
                                       torch.nn.CrossEntropyLoss(), optimiser)

    def update() -> Array:
        minibatch()
        return -flat([layer.weights.grad.numpy() for layer in own.layers]
                     + [layer.bias.grad.numpy() for layer in own.layers])

    def feedback() -> None:
        own.forward(images)
        own.compute_feedback_gradients()

    return minibatch, update, feedback


def main(logs: str) -> None:
    """Measure and print; their code writes its log to the folder `logs`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a checkout of the authors' code")
    sys.path.insert(0, str(parser.parse_args().folder.resolve()))
    stand_ins()
    row = Row("dfc", threads.available(), "averaged")
    torch.set_num_threads(row.threads)
    for name, (nudge, control) in SETTINGS.items():
        for weights, kind in (("untrained", Case), ("trained", Trained)):
            case = kind(nudge=nudge, control=control)
            minibatch, update, feedback = theirs(case, name, logs)
            closed = work(case, row)
            found, own = update(), closed.update()
            slow, fast = beside(minibatch, closed.step, case, row)
            print(f"{name}, {weights}, T {control.steps}: the authors' code {slow:.3g} s, closed "
                  f"form {1e3 * fast:.3g} ms: {slow / fast:.0f} times; updates differ by "
                  f"{error(own, found):.1e}", flush=True)
            if case == CASE:
                for way in ("euler", "averaged"):
                    noisy = Row("feedback", row.threads, way, "noisy")
                    slow, fast = beside(feedback, work(case, noisy).step, case, noisy)
                    print(f"feedback weights, T {case.feedback.steps}: the authors' code "
                          f"{1e3 * slow:.3g} ms, noisy update ({way}) {1e3 * fast:.3g} ms: "
                          f"{slow / fast:.1f} times", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
