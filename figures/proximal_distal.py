"""The same pairing near the soma and far from it, with the voltages that the synapses see."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.statistics import standard_error

REQUIRES = {"run": {"protocol": "proximal_distal"}}
CUT = 180  # per cent


def make(results):
    """Return the figure, 175 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(6.9, 1.9), layout="constrained")
    weights, resting, driven = fig.subplots(1, 3)
    _weights(weights, run)
    start = 1e3 * run["voltage"]["V_m_soma"].coords["time"][0]
    for ax, condition in ((resting, "distal"), (driven, "distal_depolarised")):
        plot.voltages(run, ax, condition=condition, legend=False)
        ax.set_title(condition.replace("_", " "))
        first = run.protocol["stimuli"]["pre"]["train"]["start"]
        at = float(str(first).removesuffix(" ms"))
        ax.set_xlim(max(start, at - 20), at + 140)
        ax.set_ylim(-90, 80)
        if ax is driven:
            ax.legend(loc="upper center", ncols=3, handlelength=1, columnspacing=0.8)
    return fig


def _weights(ax, run):
    """Draw a bar a condition, cut where it is beyond all measure, and what is published."""
    plot.bars(run, ax)
    for row, (bar, value) in enumerate(
            zip(ax.patches, np.ravel(run.measures["weight_change"].values), strict=True)):
        bar.set_width(min(value, CUT) - 100)
        text = f"{value:.0f} (bound)" if value > CUT else f"{value:.0f}"
        ax.annotate(text, (102, row - 0.45), va="bottom")
    ax.set_xlim(50, CUT)
    ax.margins(y=0.12)
    if "weight_change" in run.published:
        published = run.published["weight_change"]
        mean, sd, n = (published[k].values for k in ("mean", "sd", "n"))
        there = ~np.isnan(mean)
        ax.errorbar(mean[there], np.flatnonzero(there), xerr=standard_error(sd, n)[there], fmt="s",
                    color=plot.GREEN, markerfacecolor="white", markersize=4, capsize=2,
                    label="measured")
        ax.legend(loc="center right")
