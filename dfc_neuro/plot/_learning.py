"""Curves of a learning run: errors and angles by epoch, control, single weight changes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from dfc_neuro.errors import ResultsError
from dfc_neuro.plot._common import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    PINK,
    RED,
    along,
    new_axes,
    one_trace,
    ordered,
    power_of_ten,
    recording,
    times,
    titled,
)
from dfc_neuro.results import Result

METRIC_LABELS = {
    "train_error": "training",
    "validation_error": "validation",
    "test_error": "test",
    "angle_gn": "GN",
    "angle_bp": "BP",
    "angle_mn": "MN",
    "angle_ssa": "SSA",
}


def learning_curve(
    result: Result, ax: Any = None, *, metrics: Iterable[str] = ("train_error", "test_error")
) -> Any:
    """Draw errors against the epoch: per cent for classes, the error itself for regression.

    Parameters
    ----------
    result : Result
        Of a learning protocol.
    ax : matplotlib Axes, optional
        New ones if not given.
    metrics : iterable of str
        Which; those that the file does not have are left out.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    classes = _loss(result) == "cross_entropy"
    for colour, name in zip(COLOURS, _present(result, metrics), strict=False):
        curve = result.metrics[name]
        values = np.asarray(curve.values, float) * (100.0 if classes else 1.0)
        style = ":" if name == "train_error" else "-"
        ax.plot(along(curve, "epoch"), values, style, color=colour, label=_label(name))
    ax.set_xlabel("Epoch")
    ax.set_ylabel("Error (%)" if classes else "Mean squared error")
    if classes:
        ax.set_ylim(bottom=0)
    else:
        ax.set_yscale("log")
    ax.legend()
    return ax


def angles(
    result: Result, ax: Any = None, *, metrics: Iterable[str] = ("angle_gn", "angle_bp")
) -> Any:
    """Draw the angles between the weight change and other updates against the epoch.

    Parameters and returned axes as in `learning_curve`.
    """
    ax = new_axes(ax)
    styles = ("-", "--", "-.", ":")
    for k, name in enumerate(_present(result, metrics)):
        curve = result.metrics[name]
        ax.plot(
            along(curve, "epoch"),
            curve.values,
            styles[k % 4],
            color=(GREEN, PINK, BLUE, RED)[k % 4],
            label=_label(name),
        )
    ax.set_xlabel("Epoch")
    ax.set_ylabel("Angle to update (°)")
    ax.set_ylim(0, 95)
    ax.set_yticks([0, 30, 60, 90])
    ax.axhline(90, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
    ax.legend()
    return ax


def control(
    result: Result,
    ax: Any = None,
    *,
    what: str = "r_output",
    name: str | None = None,
    units: Iterable[int] = (0,),
    epoch: int | None = None,
    sample: int = 0,
    relative: bool = False,
) -> Any:
    """Draw the output approaching its target, or the controller, against time.

    Parameters
    ----------
    result : Result
    ax : matplotlib Axes, optional
        New ones if not given.
    what : str
        "r_output" (drawn with its target, dotted) or "u".
    name : str, optional
        The recording; the first that has it if not given.
    units : iterable of int
        Which output units, by position.
    epoch, sample : int
        Label of the epoch (default: the last) and position of the data sample.
    relative : bool
        Draw outputs and targets from the output without control.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    found = recording(result, name, re.compile(f"^{re.escape(what)}$"))
    with_target = what == "r_output" and "target" in found
    for colour, unit in zip(COLOURS, units, strict=False):
        trace = one_trace(found[what], None, None, epoch, sample, position=unit)
        time, time_unit = times(trace)
        start = trace.values[0] if relative else 0.0
        ax.plot(time, trace.values - start, color=colour, label=f"unit {unit}")
        if with_target:
            target = one_trace(found["target"], None, None, epoch, sample, position=unit)
            ax.plot(time, target.values - start, ":", color=colour)
        ax.set_xlabel(titled("Time", time_unit))
    name_shown = "Output $r_L$" if what == "r_output" else "Controller $u$"
    ax.set_ylabel(f"{name_shown}, change" if relative else name_shown)
    ax.margins(x=0)
    return ax


def plasticity(
    result: Result, ax: Any = None, *, name: str | None = None, epoch: int | None = None
) -> Any:
    """Draw weight changes of single samples against soma minus basal prediction.

    One point is a synapse on one sample; its colour is the presynaptic rate, to which the slope
    of the line from 0 to the point is proportional if the rule is their product.

    Parameters
    ----------
    result : Result
        With a recording of ``mismatch``, ``weight_change`` and, for the colour, ``rate_pre``.
    ax : matplotlib Axes, optional
        New ones if not given.
    name : str, optional
        The recording; the first that has ``mismatch`` if not given.
    epoch : int, optional
        Label of the epoch; the last if not given.

    Returns
    -------
    matplotlib Axes
        With the points as ``ax.collections[0]``, for a colour bar.
    """
    ax = new_axes(ax)
    found = recording(result, name, re.compile("^mismatch$"))
    last = {"epoch": -1} if epoch is None else {}
    chosen = found.isel(**last) if last else found.sel(epoch=epoch)
    mismatch = ordered(chosen["mismatch"], ("sample", "unit"))[:, :, None]
    change = ordered(chosen["weight_change"], ("sample", "unit", "pre"))
    x, y = np.broadcast_arrays(mismatch, change)
    colour = None
    if "rate_pre" in chosen:
        rate = ordered(chosen["rate_pre"], ("sample", "pre"))[:, None, :]
        colour = np.broadcast_to(rate, y.shape).ravel()
    bound = 1.0 if colour is None else float(np.abs(colour).max()) or 1.0
    ax.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    ax.axvline(0, color=GREY, linewidth=0.5, zorder=0)
    x_scale, x_power = power_of_ten(x)
    y_scale, y_power = power_of_ten(y)
    ax.scatter(
        x.ravel() * x_scale,
        y.ravel() * y_scale,
        s=5,
        c=BLUE if colour is None else colour,
        **({} if colour is None else {"cmap": "PuOr", "vmin": -bound, "vmax": bound}),
        edgecolors="#00000055",
        linewidths=0.25,
    )
    ax.set_xlabel(titled("Soma \N{MINUS SIGN} basal prediction", x_power))
    ax.set_ylabel(titled("Weight change", y_power))
    return ax


def _present(result: Result, names: Iterable[str]) -> list[str]:
    """Return the metrics of those named that the file has; raise when it has none."""
    names = list(names)
    found = [name for name in names if name in result.metrics]
    if not found:
        raise ResultsError(
            str(result.path),
            f"has no metric {', '.join(names)}",
            "it has " + (", ".join(result.metrics) or "none"),
        )
    return found


def _loss(result: Result) -> str:
    data = result.protocol.get("data", {})
    regression = data.get("name") in ("student_teacher", "mnist_autoencoder")
    return data.get("loss", "mse" if regression else "cross_entropy")


def _label(name: str) -> str:
    return METRIC_LABELS.get(name, name.replace("_", " "))
