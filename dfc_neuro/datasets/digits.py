"""Handwritten digits of scikit-learn, 8 x 8 pixels, 1797 samples: nothing to download."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dfc_neuro.datasets._dataset import Dataset, Split, check_options, split_indices
from dfc_neuro.errors import DataError

OPTIONS = {
    "test": 360,
    "validation": 0,
    "split_seed": 0,
    "stratified": (True, False),
    "standardise": ("global", "none"),
}


def load(options: Mapping[str, Any], seed: int | None, where: str) -> Dataset:
    """Return the digits, inputs (N, 64), labels 0..9, or 0, 1, ... of the classes that are kept.

    Parameters
    ----------
    options : dict
        ``test`` and ``validation``: samples held out; ``split_seed``: of scikit-learn's
        ``train_test_split``; ``classes``: a list of the digits that are kept (default: all);
        ``stratified``: each class has its share of each part;
        ``standardise``: "global" (one mean and deviation, over all pixels of the training part)
        or "none" (0..16).
    seed : int or None
        Not used: the split is the same for every run.
    where : str
        The place of the options, for messages.

    Raises
    ------
    DataError
        For a wrong option.
    """
    classes = _classes(options.get("classes", list(range(10))), f"{where}, classes")
    plain = {key: value for key, value in options.items() if key != "classes"}
    chosen = check_options(plain, OPTIONS, where)
    pixels, labels = _read()
    kept = np.isin(labels, classes)
    pixels, labels = pixels[kept], np.searchsorted(classes, labels[kept])
    held = chosen["test"] + chosen["validation"]
    if not 0 < chosen["test"] <= held < len(labels):
        raise DataError(
            f"{where}, test",
            f"{held} of {len(labels)} samples are held out, {chosen['test']} for the test",
            "test needs one sample or more, and so does training",
        )
    how = {"seed": chosen["split_seed"], "stratified": chosen["stratified"]}
    train, test = split_indices(labels, chosen["test"], **how)
    validation = train[:0]
    if chosen["validation"]:
        rest, part = split_indices(labels[train], chosen["validation"], **how)
        train, validation = train[rest], train[part]
    mean, deviation = 0.0, 1.0
    if chosen["standardise"] == "global":
        mean, deviation = pixels[train].mean(), pixels[train].std()

    def standardised(rows: np.ndarray) -> Split:
        return Split((pixels[rows] - mean) / deviation, labels[rows])

    return Dataset(
        standardised(train),
        standardised(validation) if len(validation) else None,
        standardised(test),
        64,
        len(classes),
        "cross_entropy",
    )


def _classes(value: object, where: str) -> np.ndarray:
    """Return the digits that are kept, in ascending order; they become the labels 0, 1, ..."""
    if (not isinstance(value, list | tuple) or len(set(value)) != len(value) or len(value) < 2
            or not all(type(c) is int and 0 <= c <= 9 for c in value)):
        raise DataError(where, f"found {value!r}", "give two or more digits, [3, 8]")
    return np.array(sorted(value))


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Return pixels 0..16 (1797, 64) and labels, without the 2 s of importing scikit-learn."""
    spec = find_spec("sklearn")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    path = folder / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        with gzip.open(path, "rt") as lines:
            table = np.loadtxt(lines, delimiter=",")
        return table[:, :-1], table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return pixels, labels.astype(np.int64)
