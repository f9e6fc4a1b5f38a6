"""Fashion-MNIST: clothing, 28 x 28 pixels, 60,000 + 10,000 samples, from IDX files or OpenML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfc_neuro.datasets._dataset import Dataset
from dfc_neuro.datasets._images import load_images


def load(options: Mapping[str, Any], seed: int | None, where: str) -> Dataset:
    """Return Fashion-MNIST, inputs (N, 784), labels 0..9.

    Parameters
    ----------
    options : dict
        folder of the four IDX files, gzipped or not; or source = "openml";
        validation samples (5000) split off by split_seed; subset: how many training
        samples to keep.
    seed : int or None
        Not used: the split is the same for every run.
    where : str
        The place of the options, for messages.

    Raises
    ------
    DataError
        For a wrong option, or a missing or damaged file.

    Notes
    -----
    Grey values are divided by 255.  Debian's package dataset-fashion-mnist is found by itself.
    """
    return load_images("fashion_mnist", options, where)
