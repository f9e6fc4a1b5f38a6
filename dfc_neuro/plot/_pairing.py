"""Weight changes of pairing experiments, with what was measured in slices beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dfc_neuro.errors import ResultsError
from dfc_neuro.plot._common import BLUE, GREY, as_shown, new_axes, titled
from dfc_neuro.plot._recordings import condition_values
from dfc_neuro.results import Result
from dfc_neuro.statistics import standard_error


def pairing(
    result: Result,
    ax: Any = None,
    *,
    key: str,
    where: Mapping[str, str] | None = None,
    measure: str = "weight_change",
    label: str = "simulated",
    data: bool = True,
    **style: Any,
) -> Any:
    """Draw the weight after pairing against one key of the conditions, and the published means.

    Parameters
    ----------
    result : Result
        With a measure of the weight's change.
    ax : matplotlib Axes, optional
        New ones if not given.
    key : str
        On the horizontal axis; conditions are called ``key=10 Hz, other=10 ms``.
    where : dict, optional
        Other keys and their values: only these conditions.  A name without value is that of an
        entry of [conditions].
    measure : str
        Name of the measure.
    label : str
        In the legend.
    data : bool
        Whether to draw what is published for these conditions: means with standard errors, or
        standard deviations where n is not known.
    **style
        Of the line.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    found = result.measures[measure]
    labels = np.array([str(c) for c in found.coords["condition"]])
    wanted = {f"{k}={v}" if v else k for k, v in (where or {}).items()}
    chosen = np.array([wanted <= set(text.split(", ")) for text in labels])
    if not chosen.any():
        raise ResultsError(str(result.path), f"has no condition with {', '.join(sorted(wanted))}",
                           "it has " + "; ".join(labels[:6]))
    x, x_unit = condition_values(labels[chosen], key, measure)
    order = np.argsort(x)
    unit, factor = as_shown(found.units)
    values = np.reshape(found.values, (len(labels), -1))[chosen, 0] * factor
    line = {"marker": "o", "markersize": 3, "color": BLUE} | style
    ax.plot(x[order], values[order], label=label, **line)
    if data and measure in result.published:
        group = result.published[measure]
        mean, sd, n = (group[k].values[chosen][order] for k in ("mean", "sd", "n"))
        mean, spread = mean * factor, standard_error(sd, n) * factor
        there = ~np.isnan(mean)
        if there.any():
            ax.errorbar(x[order][there], mean[there], np.nan_to_num(spread[there]), fmt="s",
                        markersize=4, capsize=2, markerfacecolor="white", color=line["color"],
                        label=f"{label}, measured" if label else "measured")
    if found.units == "%":
        ax.axhline(100, color=GREY, linewidth=0.5, zorder=0)
    ax.set_xlabel(titled(key.replace("_", " ").capitalize(), x_unit))
    ax.set_ylabel("Weight (% of start)" if found.units == "%" else titled("Weight change", unit))
    return ax


def bars(result: Result, ax: Any = None, *, measure: str = "weight_change", **style: Any) -> Any:
    """Draw one bar a condition, with its name.

    Parameters
    ----------
    result : Result
        With a measure of one number for each condition.
    ax : matplotlib Axes, optional
        New ones if not given.
    measure : str
        Name of the measure.
    **style
        Of the bars.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    found = result.measures[measure]
    unit, factor = as_shown(found.units)
    names = [str(c).replace("_", " ") for c in found.coords["condition"]]
    values = np.reshape(found.values, (len(names), -1))[:, 0] * factor
    base = 100.0 if found.units == "%" else 0.0
    ax.barh(names, values - base, left=base, **({"color": BLUE, "height": 0.7} | style))
    ax.axvline(base, color=GREY, linewidth=0.5)
    ax.invert_yaxis()
    ax.set_xlabel("Weight (% of start)" if base else titled("Weight change", unit))
    return ax
