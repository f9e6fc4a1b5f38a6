"""Result files: a kill at any moment loses nothing that was saved; read by name and label."""

from dfc_neuro.results._labelled import Group, LabelledArray
from dfc_neuro.results._provenance import default_path, environment
from dfc_neuro.results._reader import Result
from dfc_neuro.results._scan import scan
from dfc_neuro.results._size import announce
from dfc_neuro.results._snapshot import partial_folder
from dfc_neuro.results._start import remove_debris
from dfc_neuro.results._writer import Writer

__all__ = [
    "Group", "LabelledArray", "Result", "Writer", "announce", "default_path", "environment",
    "partial_folder", "remove_debris", "scan",
]
