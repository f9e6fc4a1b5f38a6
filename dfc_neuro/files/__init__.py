"""The files that users write: found, read, validated, resolved and composed."""

from dfc_neuro.files.load import load

__all__ = ["load"]
