"""What the drawing functions share: colours, units on axes, finding recordings and traces."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from dfc_neuro.errors import ResultsError
from dfc_neuro.results import Group, LabelledArray, Result

BLUE, RED, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PINK, BLACK, GREY = "#56B4E9", "#CC79A7", "#000000", "#888888"
COLOURS = (BLUE, RED, GREEN, ORANGE, PINK, SKY, BLACK)
COMPARTMENTS = {"basal": (BLUE, "--"), "apical": (RED, "-"), "soma": (BLACK, "-")}
VOLTAGE = re.compile(r"^(?:v|V_m)_(basal|apical|soma)$")

# unit in the file: unit on the axis, factor
SHOWN_UNITS = {
    "V": ("mV", 1e3),
    "volt": ("mV", 1e3),
    "s": ("ms", 1e3),
    "second": ("ms", 1e3),
    "A": ("nA", 1e9),
    "amp": ("nA", 1e9),
    "S": ("nS", 1e9),
    "siemens": ("nS", 1e9),
    "hertz": ("Hz", 1.0),
    "tau_u": (r"$\tau_u$", 1.0),
    "degree": ("°", 1.0),
    "1": ("", 1.0),
    "": ("", 1.0),
}


def new_axes(ax: Any) -> Any:
    """Return the axes given, or new ones."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def recording(result: Result, name: str | None, pattern: re.Pattern[str]) -> Group:
    """Return the recording of that name, or the first with a variable that fits."""
    if name is not None:
        return result[name]
    for group in result.recordings.values():
        if any(pattern.match(variable) for variable in group):
            return group
    raise ResultsError(
        str(result.path),
        f"holds no recording of {pattern.pattern.strip('^$')}",
        "it has " + (", ".join(result.recordings) or "none"),
    )


def one_trace(
    array: LabelledArray,
    unit: int | None,
    condition: str | None,
    epoch: int | None,
    sample: int,
    position: int = 0,
) -> LabelledArray:
    """Return one trace (time,) of a recorded variable."""
    for dim, label, default in (
        ("unit", unit, position),
        ("condition", condition, -1),
        ("epoch", epoch, -1),
        ("sample", None, sample),
    ):
        if dim in array.dims:
            array = array.isel(**{dim: default}) if label is None else array.sel(**{dim: label})
    return array


def along(array: LabelledArray, dim: str) -> np.ndarray:
    return array.coords.get(dim, np.arange(len(array)))


def times(trace: LabelledArray) -> tuple[np.ndarray, str]:
    """Return the times of a trace as they are shown, and their unit."""
    unit, factor = as_shown(trace.coord_units.get("time", ""))
    return np.asarray(along(trace, "time"), float) * factor, unit


def ordered(array: LabelledArray, dims: tuple[str, ...]) -> np.ndarray:
    """Return values with dims in this order."""
    return np.transpose(array.values, [array.dims.index(dim) for dim in dims])


def as_shown(unit: str) -> tuple[str, float]:
    return SHOWN_UNITS.get(unit, (unit, 1.0))


def titled(text: str, unit: str) -> str:
    return f"{text} ({unit})" if unit else text


def power_of_ten(*arrays: np.ndarray, exponent: int | None = None) -> tuple[float, str]:
    """Return the factor that brings small or large numbers to 1..1000, and what it is called.

    A given exponent is taken instead of the one that fits.
    """
    if exponent is None:
        largest = max((float(np.nanmax(np.abs(a))) for a in arrays if np.size(a)), default=0.0)
        if not np.isfinite(largest) or largest == 0.0 or 0.05 <= largest < 1000:
            return 1.0, ""
        exponent = 3 * int(np.floor(np.log10(largest) / 3))
    return 10.0**-exponent, rf"$10^{{{exponent}}}$"
