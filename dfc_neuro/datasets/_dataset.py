"""What every dataset returns, and what the loaders share: options, splits, minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dfc_neuro.errors import DataError, near

# Keys of a protocol's table [data] that say how to train, not what to load.
TRAINING_KEYS = frozenset({"name", "batch", "loss", "target_stepsize"})


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a dataset; grey values stay bytes, and become numbers a minibatch at a time.

    Attributes
    ----------
    stored_x : ndarray, shape (N, n), float64 or uint8
        Inputs, or the numbers of their values.
    stored_y : ndarray, shape (N,) of int64 or (N, n_L) of float64 or uint8
        Class labels, or target outputs, as the inputs.
    values : ndarray, shape (256,), float64, optional
        What the bytes stand for.
    """

    stored_x: np.ndarray
    stored_y: np.ndarray
    values: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.stored_x)

    def part(self, rows: np.ndarray | slice) -> Split:
        """Return some of the samples."""
        return Split(self.stored_x[rows], self.stored_y[rows], self.values)

    def inputs(self, dtype: DTypeLike = np.float64) -> np.ndarray:
        """Return the inputs, (N, n), as numbers of a precision."""
        return self._numbers(self.stored_x, dtype)

    def targets(self, dtype: DTypeLike = np.float64) -> np.ndarray:
        """Return labels, (N,) int64, or target outputs, (N, n_L), as numbers of a precision."""
        y = self.stored_y
        return y if y.dtype == np.int64 else self._numbers(y, dtype)

    @property
    def x(self) -> np.ndarray:
        """All inputs in float64; for images that is eight times what is stored."""
        return self.inputs()

    @property
    def y(self) -> np.ndarray:
        """All labels, or target outputs in float64."""
        return self.targets()

    def _numbers(self, stored: np.ndarray, dtype: DTypeLike) -> np.ndarray:
        if self.values is not None:
            return np.take(self.values.astype(dtype), stored)
        return stored.astype(dtype, copy=False)


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
            raise DataError(f"{where}, {key}", "no such option",
                            near(key, {*defaults, *TRAINING_KEYS}))
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
    labels: np.ndarray, part: int, seed: int, *, stratified: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return disjoint random indices (rest, part) that together cover all samples.

    They are those of scikit-learn's ``train_test_split(random_state=seed)``, so that numbers can
    be compared with other people's; its import would take two seconds.

    Parameters
    ----------
    labels : ndarray, shape (N,)
        Classes; only their number matters unless `stratified`.
    part : int
        Samples in the second part.
    seed : int
        Of the split.
    stratified : bool
        Give each class its share of both parts, to within one sample.
    """
    rng = np.random.RandomState(seed)
    if not stratified:
        order = rng.permutation(len(labels))
        return order[part:], order[:part]
    classes, counts = np.unique(labels, return_counts=True)
    kept = _shares(counts, len(labels) - part, rng)
    taken = _shares(counts - kept, part, rng)
    rest, chosen = [], []
    for c, n, m in zip(classes, kept, taken, strict=True):
        members = np.flatnonzero(labels == c)
        members = members[rng.permutation(len(members))]
        rest.append(members[:n])
        chosen.append(members[n : n + m])
    return rng.permutation(np.concatenate(rest)), rng.permutation(np.concatenate(chosen))


def _shares(counts: np.ndarray, total: int, rng: np.random.RandomState) -> np.ndarray:
    """Return integers in proportion to `counts` whose sum is `total`.

    What rounding down leaves goes to the largest remainders; ties are drawn.
    """
    if not total:
        return np.zeros(len(counts), int)
    exact = counts / counts.sum() * total
    shares = np.floor(exact).astype(int)
    remainders = exact - shares
    for value in np.unique(remainders)[::-1]:
        left = total - shares.sum()
        if not left:
            break
        tied = np.flatnonzero(remainders == value)
        shares[rng.choice(tied, size=min(left, len(tied)), replace=False)] += 1
    return shares


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
