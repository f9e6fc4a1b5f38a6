"""The Brian2 engine: cells, circuits and recordings from the text of the models."""

from dfc_neuro.brian.cells import equations_and_parameters as equations
from dfc_neuro.brian.rate_level import controlled_trajectory
from dfc_neuro.brian.record import record

__all__ = ["controlled_trajectory", "equations", "record"]
