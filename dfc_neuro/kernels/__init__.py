"""Numba kernels of cells that nothing connects, generated from the text that Brian2 would run."""

from dfc_neuro.kernels.cell import Cells
from dfc_neuro.kernels.text import Text, distance

__all__ = ["Cells", "Text", "distance"]
