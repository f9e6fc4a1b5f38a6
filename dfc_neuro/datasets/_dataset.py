"""What every dataset returns, and what the loaders share: options, splits, minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfc_neuro.errors import DataError, near

# Keys of a protocol's table [data] that say how to train, not what to load.
TRAINING_KEYS = frozenset({"name", "batch", "loss", "target_stepsize"})


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a dataset.

    Attributes
    ----------
    x : ndarray, shape (N, n), float64
        Inputs.
    y : ndarray, shape (N,) of int64 or (N, n_L) of float64
        Class labels, or target outputs.
    """

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Data for training, choosing and testing.

    Attributes
    ----------
    train, test : Split
        Disjoint parts.
    validation : Split or None
        Held out of the training data; None when there is none.
    n_inputs, n_outputs : int
        Sizes of the network's first and last layer.
    loss_kind : str
        "cross_entropy" for class labels, "mse" for target outputs.
    """

    train: Split
    validation: Split | None
    test: Split
    n_inputs: int
    n_outputs: int
    loss_kind: str


def check_options(
    options: Mapping[str, Any], defaults: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Return the options of a dataset with its defaults filled in.

    Numbers of samples are integers >= 0 (a default that is an int, or None for "all"); a default
    that is a tuple lists the allowed values, the first of which is the default.

    Raises
    ------
    DataError
        For an unknown option or a value of the wrong kind.
    """
    given = {k: v for k, v in options.items() if k not in TRAINING_KEYS}
    found = {k: v[0] if isinstance(v, tuple) else v for k, v in defaults.items()}
    for key, value in given.items():
        if key not in defaults:
            raise DataError(f"{where}, {key}", "no such option", near(key, defaults))
        default = defaults[key]
        if isinstance(default, tuple):
            if value not in default or isinstance(value, bool) != isinstance(default[0], bool):
                allowed = ", ".join(str(choice).lower() for choice in default)
                raise DataError(f"{where}, {key}", f"'{value}' is not allowed", f"give {allowed}")
        elif isinstance(default, str):
            if not isinstance(value, str):
                raise DataError(f"{where}, {key}", f"{value!r} is not a text")
        elif isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise DataError(f"{where}, {key}", f"{value!r} is not a count", "give an integer >= 0")
        found[key] = value
    return found


def split_indices(
    labels: np.ndarray, part: int, rng: np.random.Generator, *, stratified: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return disjoint random indices (rest, part) that together cover all samples.

    Parameters
    ----------
    labels : ndarray, shape (N,)
        Classes; only their number matters unless `stratified`.
    part : int
        Samples in the second part.
    rng : numpy.random.Generator
    stratified : bool
        Give each class its share of the part, rounded so that the sizes are exact.
    """
    if not stratified:
        order = rng.permutation(len(labels))
        return order[part:], order[:part]
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * part / len(labels)
    shares = np.floor(exact).astype(int)
    largest = np.argsort(shares - exact, kind="stable")[: part - shares.sum()]
    shares[largest] += 1
    chosen = np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == c))[:n]
            for c, n in zip(classes, shares, strict=True)
        ]
    )
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return rng.permutation(rest), rng.permutation(chosen)


def check_sizes(dataset: Dataset, sizes: Sequence[int], where: str) -> None:
    """Raise DataError when the first or last layer of `sizes` does not fit the data."""
    for position, wanted, what in (
        (0, dataset.n_inputs, "inputs"),
        (-1, dataset.n_outputs, "outputs"),
    ):
        if sizes[position] != wanted:
            fitting = [*sizes]
            fitting[position] = wanted
            raise DataError(
                where,
                f"the network has {sizes[position]} {what}, the data {wanted}",
                f"use layers = {fitting}",
            )


def minibatches(n: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield index arrays that cover 0..n-1 once, in random order; the last may be shorter."""
    order = rng.permutation(n)
    for start in range(0, n, batch):
        yield order[start : start + batch]
