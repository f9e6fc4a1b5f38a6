"""Autoencoder: standardised images of MNIST or Fashion-MNIST as input and as target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfc_neuro.datasets._dataset import Dataset, Split
from dfc_neuro.datasets._images import SETS, load_images
from dfc_neuro.errors import DataError, near


def load(options: Mapping[str, Any], seed: int | None, where: str) -> Dataset:
    """Return images as inputs and targets, both (N, 784).

    Parameters
    ----------
    options : dict
        ``images``: "mnist" (default) or "fashion_mnist"; the others as in `mnist`.
    seed : int or None
        Not used: the split is the same for every run.
    where : str
        The place of the options, for messages.

    Raises
    ------
    DataError
        For a wrong option, or a missing or damaged file.
    """
    rest = dict(options)
    name = rest.pop("images", "mnist")
    if name not in SETS:
        raise DataError(f"{where}, images", f"no such images '{name}'", near(str(name), SETS))
    data = load_images(name, rest, where)

    def own(part: Split) -> Split:
        return Split(part.stored_x, part.stored_x, part.values)

    held = own(data.validation) if data.validation else None
    return Dataset(own(data.train), held, own(data.test), data.n_inputs, data.n_inputs, "mse")
