"""An optimiser at work on a list of arrays: decay, clipping, its state, its steps."""

from __future__ import annotations

import math

import numpy as np

from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.optimisers._clip import HOW, clip_factors
from dfc_neuro.registry import get

Array = np.ndarray
DEFAULTS: dict[str, object] = {"name": "sgd", "lr": None, "lr_end": None, "weight_decay": 0.0,
                               "clip": "none", "clip_norm": 1.0}


def _check(key: str, value: object, where: str) -> None:
    if key == "name" or (key == "lr_end" and value is None):
        return
    if key == "clip":
        if value not in HOW:
            raise ProtocolError(where, f"is {value!r}", f"allowed are {', '.join(HOW)}")
    elif key == "betas":
        if not (isinstance(value, list | tuple) and len(value) == 2
                and all(_is_number(b) and b < 1 for b in value)):
            raise ProtocolError(where, f"is {value!r}", "give two numbers from 0 to below 1")
    elif not _is_number(value):
        raise ProtocolError(where, f"is {value!r}", "give a number that is not negative")


def _is_number(value: object) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)
            and 0 <= value < math.inf)


class Optimiser:
    """Apply ascent directions to parameters by one of the modules of this folder.

    Parameters
    ----------
    options : dict
        ``name``, ``lr`` (a number), and optionally ``lr_end``, ``weight_decay`` (added to the
        gradient as ``weight_decay * theta`` after clipping), ``clip`` ("each", "global" or "none"),
        ``clip_norm``, and what the module's OPTIONS name.
    where : str
        The place in the protocol, for messages.

    Raises
    ------
    ProtocolError
        For an unknown option, or a value that it cannot have.
    """

    def __init__(self, options: dict, where: str):
        self.module = get("optimisers", options.get("name", "sgd"), f"{where}.name")
        allowed = {*DEFAULTS, *self.module.OPTIONS}
        for key in options:
            if key not in allowed:
                raise ProtocolError(f"{where}.{key}", "unknown option", near(key, allowed))
        self.options = {**DEFAULTS, **self.module.OPTIONS, **options}
        for key, value in self.options.items():
            _check(key, value, f"{where}.{key}")
        self.lr, self.count = self.options["lr"], 0
        self.state: list[dict[str, Array]] = []

    def apply(self, parameters: list[Array], ascent: list[Array]) -> None:
        """Change `parameters` in place along `ascent`."""
        if not self.state:
            self.state = [{key: np.zeros_like(p) for key in self.module.STATE}
                          for p in parameters]
        factors = clip_factors(ascent, self.options["clip"], self.options["clip_norm"])
        decay = self.options["weight_decay"]
        self.count += 1
        for p, a, factor, state in zip(parameters, ascent, factors, self.state, strict=True):
            self.module.step(p, a, factor, decay, state, self.count, self.lr, self.options)

    def anneal(self, progress: float) -> None:
        """Move the learning rate from ``lr`` towards ``lr_end``, if there is one.

        `progress` goes from 0 to 1 over all passes that the optimiser is for.
        """
        first, last = self.options["lr"], self.options["lr_end"]
        if last is not None:
            self.lr = first + (last - first) * progress

    def save(self, prefix: str) -> dict[str, object]:
        """Return the state under names that begin with `prefix`, for a checkpoint."""
        saved: dict[str, object] = {f"{prefix}/count": self.count}
        for i, state in enumerate(self.state):
            saved |= {f"{prefix}/{key}{i}": value for key, value in state.items()}
        return saved

    def restore(self, prefix: str, saved: dict, parameters: list[Array]) -> None:
        """Take back what `save` returned."""
        self.count = int(saved[f"{prefix}/count"])
        if self.count:
            self.state = [{key: np.array(saved[f"{prefix}/{key}{i}"]) for key in self.module.STATE}
                          for i in range(len(parameters))]
