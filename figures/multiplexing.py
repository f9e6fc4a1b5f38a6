"""Multiplexing: apical drive sets the share of bursts and leaves the rate of events alone."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot

SEEDS = range(1, 6)
REQUIRES = {f"seed{seed}": {"protocol": "multiplexing", "seed": seed} for seed in SEEDS}
SHOWN = 40  # neurons of the raster


def make(results):
    """Return the figure, 85 mm wide."""
    fig = Figure(figsize=(3.35, 3.6), layout="constrained")
    axes = fig.subplot_mosaic([["raster", "raster"], ["rate", "share"]], height_ratios=[1, 1.1])
    runs = list(results.values())
    _raster(axes["raster"], runs[0])
    curves = {
        "rate": [("event_rate", "events", plot.BLUE, "-"), ("pv_rate", "PV", plot.GREY, "--"),
                 ("sst_rate", "SST", plot.RED, ":")],
        "share": [("burst_probability", "", plot.BLUE, "-")],
    }
    for name, lines in curves.items():
        ax = axes[name]
        for measure, label, colour, style in lines:
            _mean(ax, runs, measure, label, colour, style)
        ax.set_xlabel("Apical drive (pA)")
        ax.set_ylim(bottom=0)
    axes["rate"].set_ylabel("Rate (Hz)")
    axes["rate"].legend(loc="upper left")
    axes["share"].set_ylabel("Burst probability")
    return fig


def _mean(ax, runs, measure, label, colour, style):
    """Draw the mean of the seeds, and a band of their standard deviation."""
    found = [run.measures[measure] for run in runs]
    x, _ = plot.condition_values(found[0].coords["condition"], "drive", measure)
    y = np.array([f.values for f in found], float)
    mean, sd = y.mean(axis=0), y.std(axis=0, ddof=min(1, len(y) - 1))
    ax.plot(x, mean, style, color=colour, label=label or None)
    ax.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.25, linewidth=0)


def _raster(ax, run):
    """Draw spikes at two drives; those that follow another within 16 ms in orange."""
    spikes = run.spikes["pyr"]
    for row, drive in enumerate(("0 pA", "200 pA")):
        chosen = (spikes["condition"].values == f"drive={drive}") & (spikes["unit"].values < SHOWN)
        time, unit = spikes["time"].values[chosen], spikes["unit"].values[chosen]
        order = np.lexsort((time, unit))
        time, unit = time[order], unit[order]
        near = (np.diff(time) <= 0.016) & (np.diff(unit) == 0)
        burst = np.concatenate([near, [False]]) | np.concatenate([[False], near])
        for part, colour in ((~burst, plot.BLACK), (burst, plot.RED)):
            ax.plot(time[part], unit[part] + row * SHOWN * 1.1, "|", color=colour, markersize=2)
        ax.text(-0.01, row * SHOWN * 1.1 + SHOWN / 2, drive, ha="right", va="center",
                transform=ax.get_yaxis_transform())
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlim(0, 2)
    ax.set_xlabel("Time (s)")
    ax.set_title("spikes of 40 cells, bursts in orange", loc="left")
