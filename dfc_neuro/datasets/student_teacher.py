"""Student-teacher regression: the target is the output of a random deep network."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from dfc_neuro.datasets._dataset import Dataset, Split, check_options
from dfc_neuro.errors import DataError

OPTIONS = {
    "inputs": 15,
    "outputs": 5,
    "train": 5000,
    "validation": 1000,
    "test": 1000,
    "width": 1000,
    "depth": 4,
    "units": ("relu", "sigmoid"),
}
GAIN = 3.0


def load(options: Mapping[str, Any], seed: int | None, where: str) -> Dataset:
    """Return inputs (N, inputs) and targets (N, outputs).

    Parameters
    ----------
    options : dict
        ``inputs``, ``outputs``: sizes; ``train``, ``validation``, ``test``: samples; ``width``,
        ``depth``: units in each of the teacher's hidden layers, and how many there are; ``units``:
        "relu", with a linear output, or "sigmoid", rates from input to output.
    seed : int or None
        Of the run; None draws other data each time.
    where : str
        The place of the options, for messages.

    Raises
    ------
    DataError
        For a wrong option.

    Notes
    -----
    The teacher has rectified hidden layers, a linear output, no biases, and weights from a normal
    distribution of deviation 3 sqrt(2 / (n_in + n_out)), as in the code published with Deep
    Feedback Control; its inputs are uniform in (-1, 1).

    With sigmoid units phi everything is a rate between 0 and 1, the inputs uniform there, and each
    layer is phi(W (r - 1/2)): a unit's threshold is its drive where all it hears are half active.
    Without it most teachers' outputs hardly move about a mean, which a student's biases learn.
    """
    chosen = check_options(options, OPTIONS, where)
    for key in ("inputs", "outputs", "train", "test", "width"):
        if not chosen[key]:
            raise DataError(f"{where}, {key}", "is 0", "give an integer > 0")
    own = zlib.crc32(b"student_teacher")
    rng = np.random.default_rng(None if seed is None else [own, seed])
    sizes = [chosen["inputs"], *[chosen["width"]] * chosen["depth"], chosen["outputs"]]
    weights = [rng.normal(0.0, GAIN * np.sqrt(2.0 / (n + m)), (m, n)) for n, m in pairwise(sizes)]

    def part(samples: int) -> Split:
        if chosen["units"] == "sigmoid":
            x = r = rng.uniform(0.0, 1.0, (samples, sizes[0]))
            for weight in weights:
                r = 1.0 / (1.0 + np.exp(-((r - 0.5) @ weight.T)))
            return Split(x, r)
        x = r = rng.uniform(-1.0, 1.0, (samples, sizes[0]))
        for weight in weights[:-1]:
            r = np.maximum(r @ weight.T, 0.0)
        return Split(x, r @ weights[-1].T)

    train = part(chosen["train"])
    validation = part(chosen["validation"]) if chosen["validation"] else None
    return Dataset(train, validation, part(chosen["test"]), sizes[0], sizes[-1], "mse")
