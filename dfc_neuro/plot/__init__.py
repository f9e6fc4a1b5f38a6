"""Draw what a result file holds: each function takes a result and axes, and returns the axes.

Nothing is shown or saved, and no simulation is looked at; colours are those of Okabe and Ito,
told apart also by people who are colour-blind.
"""

from dfc_neuro.plot._common import BLACK, BLUE, COMPARTMENTS, GREEN, GREY, ORANGE, PINK, RED, SKY
from dfc_neuro.plot._learning import angles, control, learning_curve, plasticity
from dfc_neuro.plot._pairing import bars, pairing
from dfc_neuro.plot._recordings import (
    condition_values,
    measure_by,
    raster,
    voltages,
    weight_change,
)

__all__ = [
    "BLACK",
    "BLUE",
    "COMPARTMENTS",
    "GREEN",
    "GREY",
    "ORANGE",
    "PINK",
    "RED",
    "SKY",
    "angles",
    "bars",
    "condition_values",
    "control",
    "learning_curve",
    "measure_by",
    "pairing",
    "plasticity",
    "raster",
    "voltages",
    "weight_change",
]
