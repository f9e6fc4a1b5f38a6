"""The plasticity laboratory: rules put through every experiment, and fitted to measurements."""

from dfc_neuro.laboratory.compare import compare
from dfc_neuro.laboratory.fit import fit

__all__ = ["compare", "fit"]
