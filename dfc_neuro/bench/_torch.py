"""The rows beside ours, where PyTorch is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

import dfc_neuro
from dfc_neuro.bench._case import Case, Row
from dfc_neuro.bench._work import RATE, Work, flat

Array = np.ndarray


def installed() -> bool:
    """Return whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def plain_loop() -> Path | None:
    """Return the file of the plain PyTorch loop, which is part of a checkout only."""
    path = Path(dfc_neuro.__file__).resolve().parent.parent / "benchmarks" / "torch_dfc.py"
    return path if path.is_file() else None


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("torch_dfc", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def backprop(case: Case, row: Row) -> Work:
    """Return PyTorch's backpropagation with its Adam, default or fused."""
    import torch

    net, inputs, targets = case.draw()
    dtype = getattr(torch, row.dtype)
    layers: list[torch.nn.Module] = []
    for W in net.W:
        layer = torch.nn.Linear(W.shape[1], W.shape[0], dtype=dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(W))
            layer.bias.zero_()
        layers += [layer, torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    x, labels = torch.from_numpy(inputs).to(dtype), torch.from_numpy(targets)
    loss = torch.nn.CrossEntropyLoss()
    # None leaves the choice to PyTorch
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE, fused=row.fused or None)

    def gradients() -> None:
        torch.set_num_threads(row.threads)
        optimiser.zero_grad()
        loss(model(x), labels).backward()

    def step() -> None:
        gradients()
        optimiser.step()

    def update() -> Array:
        gradients()
        found = [-np.asarray(p.grad) for p in model.parameters()]  # W_1, b_1, W_2, ...
        return flat([*found[0::2], *found[1::2]])

    return Work(step, update)


def loop(case: Case) -> Work:
    """Return a plain PyTorch loop over the time steps of DFC, in float64."""
    path = plain_loop()
    assert path is not None
    module = _module(path)
    net, x, labels = case.draw()

    def learn() -> Array:
        dW, db = module.update(net.W, net.b, net.Q, net.nonlinearities, x, labels, case.nudge,
                               case.control)
        return flat([*dW, *db])

    return Work(learn, learn)
