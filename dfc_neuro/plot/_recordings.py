"""Traces, spikes and measures of a recording."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from dfc_neuro.errors import ResultsError
from dfc_neuro.plot._common import (
    BLACK,
    BLUE,
    COMPARTMENTS,
    VOLTAGE,
    as_shown,
    new_axes,
    one_trace,
    power_of_ten,
    recording,
    times,
    titled,
)
from dfc_neuro.results import LabelledArray, Result


def voltages(
    result: Result,
    ax: Any = None,
    *,
    name: str | None = None,
    unit: int | None = None,
    condition: str | None = None,
    epoch: int | None = None,
    sample: int = 0,
    relative: bool = False,
    exponent: int | None = None,
    legend: bool = True,
) -> Any:
    """Draw the voltages of the compartments of one neuron against time.

    Parameters
    ----------
    result : Result
    ax : matplotlib Axes, optional
        New ones if not given.
    name : str, optional
        The recording; the first with voltages if not given.
    unit, condition, epoch : optional
        Label of the neuron (default: the first), the condition (the last) and the epoch (the
        last).
    sample : int
        Position of the data sample.
    relative : bool
        Draw each voltage from its first value: what control adds.
    exponent : int, optional
        Power of ten that relative voltages are shown in; one that fits if not given.
    legend : bool
        Whether to name the compartments.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    found = recording(result, name, VOLTAGE)
    traces = {}
    for variable in found:
        match = VOLTAGE.match(variable)
        if match:
            trace = one_trace(found[variable], unit, condition, epoch, sample)
            unit_shown, factor = as_shown(trace.units)
            values = np.asarray(trace.values, float) * factor
            traces[match[1]] = values - values[0] if relative else values
    scale, power = power_of_ten(*traces.values(), exponent=exponent) if relative else (1.0, "")
    time, time_unit = times(trace)
    for compartment, (colour, style) in COMPARTMENTS.items():
        if compartment in traces:
            ax.plot(time, traces[compartment] * scale, style, color=colour, label=compartment)
    ax.set_xlabel(titled("Time", time_unit))
    ax.set_ylabel(
        titled("Voltage change" if relative else "Voltage", f"{power} {unit_shown}".strip())
    )
    ax.margins(x=0)
    if legend:
        ax.legend()
    return ax


def weight_change(
    result: Result,
    ax: Any = None,
    *,
    key: str,
    name: str | None = None,
    **style: Any,
) -> Any:
    """Draw how much a plastic weight has changed in each condition against one of its keys.

    Parameters
    ----------
    result : Result
        With a recording of the weight ``w``.
    ax : matplotlib Axes, optional
        New ones if not given.
    key : str
        The key; conditions are called ``key=-40 mV`` and the like.
    name : str, optional
        The recording; the first of a weight if not given.
    **style
        For ``ax.plot``.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    w = recording(result, name, re.compile("^w$"))["w"]
    change = w.isel(time=-1).values - w.isel(time=0).values
    found = LabelledArray(change, w.dims[1:], w.coords, "1", w.name)
    _by_condition(ax, found, key, style)
    ax.set_ylabel("Weight change")
    return ax


def measure_by(
    result: Result,
    ax: Any = None,
    *,
    measure: str,
    key: str,
    condition: str | None = None,
    label: str = "",
    **style: Any,
) -> Any:
    """Draw a measure of each condition against the value that the condition gives to a key.

    Parameters
    ----------
    result : Result
        Of a recording protocol with a table [over].
    ax : matplotlib Axes, optional
        New ones if not given.
    measure : str
        A measure with the dim ``condition``.
    key : str
        The key; conditions are called ``key=-40 mV`` and the like.
    condition : str, optional
        Only conditions of this name, ``NAME, key=-40 mV``; all if not given.
    label : str
        For the legend.
    **style
        For ``ax.plot``.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    values = result.measures[measure]
    if condition is not None:
        labels = values.coords["condition"]
        values = values.sel(condition=[k for k in labels if k.startswith(f"{condition}, ")])
    unit, factor = as_shown(values.units)
    _by_condition(ax, values, key, {"label": label} | style, factor)
    ax.set_ylabel(titled(measure.replace("_", " ").capitalize(), unit))
    return ax


def raster(
    result: Result, ax: Any = None, *, name: str | None = None, condition: str | None = None
) -> Any:
    """Draw a tick for each spike, one row a neuron.

    Parameters
    ----------
    result : Result
    ax : matplotlib Axes, optional
        New ones if not given.
    name : str, optional
        Of the spikes; the first if not given.
    condition : str, optional
        Only its spikes; all if not given.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    time, unit = spikes(result, name, condition)
    ax.plot(time * 1e3, unit, "|", color=BLACK, markersize=4)
    ax.set_xlabel("Time (ms)")
    ax.set_ylabel("Neuron")
    return ax


def spikes(
    result: Result, name: str | None = None, condition: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return times (s) and neurons of spikes, those of all conditions if none is chosen."""
    names = list(result.spikes)
    if not names:
        raise ResultsError(str(result.path), "holds no spikes", 'record what = "spikes"')
    found = result.spikes[name or names[0]]
    time = np.asarray(found["time"].values, float)
    unit = found["unit"].values
    if condition is None:
        return time, unit
    chosen = found["condition"].values == condition
    return time[chosen], unit[chosen]


def _by_condition(
    ax: Any, values: LabelledArray, key: str, style: dict[str, Any], factor: float = 1.0
) -> None:
    """Draw one number a condition against the value that the condition gives to a key."""
    x, unit = condition_values(values.coords["condition"], key, values.name)
    order = np.argsort(x)
    y = np.asarray(values.values, float).reshape(len(x), -1)[:, 0] * factor
    ax.plot(x[order], y[order], **({"marker": "o", "color": BLUE} | style))
    ax.set_xlabel(titled(key.replace("_", " ").capitalize(), unit))


def condition_values(labels: Iterable[str], key: str, where: str) -> tuple[np.ndarray, str]:
    """Return the numbers that conditions such as ``voltage=-40 mV`` give to a key, and the unit."""
    pattern = re.compile(rf"(?:^|, ){re.escape(key)}=([-+.\deE]+)\s*([^,]*)")
    found, units = [], set()
    for label in labels:
        match = pattern.search(str(label))
        if match is None:
            raise ResultsError(where, f"condition '{label}' gives no number to '{key}'")
        found.append(float(match[1]))
        units.add(match[2].strip())
    if len(units) > 1:
        raise ResultsError(where, f"conditions give '{key}' in {', '.join(sorted(units))}")
    return np.array(found), units.pop()
