"""The Brian2 engine: cells, circuits and recordings from the text of the models."""

import sys

_hook = sys.excepthook

from dfc_neuro.brian.cells import equations_and_parameters as equations  # noqa: E402
from dfc_neuro.brian.rate_level import controlled_trajectory  # noqa: E402
from dfc_neuro.brian.recording import record  # noqa: E402

sys.excepthook = _hook  # Brian2 takes every error for one of its own, and asks to report it

__all__ = ["controlled_trajectory", "equations", "record"]
