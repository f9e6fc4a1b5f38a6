"""MNIST: handwritten digits, 28 x 28 pixels, 60,000 + 10,000 samples, from IDX files or OpenML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfc_neuro.datasets._dataset import Dataset
from dfc_neuro.datasets._images import load_images


def load(options: Mapping[str, Any], seed: int | None, where: str) -> Dataset:
    """Return MNIST; options and errors as of `dfc_neuro.datasets._images.load_images`.

    Grey values are divided by 255, then (x - 0.1307) / 0.3081 (mean and deviation of its pixels).
    """
    return load_images("mnist", options, where)
