"""Fashion-MNIST: clothing, 28 x 28 pixels, 60,000 + 10,000 samples, from IDX files or OpenML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfc_neuro.datasets._dataset import Dataset
from dfc_neuro.datasets._images import load_images


def load(options: Mapping[str, Any], seed: int | None, where: str) -> Dataset:
    """Return Fashion-MNIST; options and errors as of `dfc_neuro.datasets._images.load_images`.

    Grey values are divided by 255.  Debian's package dataset-fashion-mnist is found by itself.
    """
    return load_images("fashion_mnist", options, where)
