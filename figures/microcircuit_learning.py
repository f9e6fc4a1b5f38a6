"""The dendritic error microcircuit learns: its error, its apical voltage, its outputs."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "microcircuit_learning"}}
SHOWN = {"all": ("all learn", plot.BLUE, "-"), "frozen": ("hidden fixed", plot.RED, "--")}


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(3.35, 3.4), layout="constrained")
    axes = fig.subplot_mosaic([["error", "apical"], ["before", "after"]])
    patterns = len(run.protocol["stimuli"]["input"]["values"])
    for condition, (label, colour, style) in SHOWN.items():
        error, apical = _late(run, condition)
        for name, values in (("error", error), ("apical", apical)):
            rounds = len(values) // patterns
            mean = values[: rounds * patterns].reshape(rounds, patterns).mean(axis=1)
            axes[name].plot(np.arange(1, rounds + 1), mean, style, color=colour, label=label)
    axes["error"].set_yscale("log")
    axes["error"].set_ylabel("Squared error")
    axes["apical"].set_ylabel(r"Apical voltage $\|v_A\|$")
    axes["apical"].set_ylim(bottom=0)
    for name in ("error", "apical"):
        axes[name].set_xlabel("Rounds")
    axes["error"].legend(loc="lower left", handlelength=1.5)
    length = run["output"]["prediction"].coords["time"][-1]
    _outputs(axes["before"], run, 0.0, "before")
    _outputs(axes["after"], run, length - 1.6, "after")
    axes["before"].sharey(axes["after"])
    return fig


def _late(run, condition):
    """Return error and norm of the apical voltage late in each presentation."""
    step = _samples(run)
    late = slice(step - 1, None, step)
    output = run["output"].sel(condition=condition)["prediction"].values[late]
    target = _rate(run["teacher"].sel(condition=condition)["rate"].values[late])
    apical = run["hidden"].sel(condition=condition)["v_apical"].values[late]
    return ((output - target) ** 2).sum(axis=1), np.linalg.norm(apical, axis=1)


def _samples(run):
    """Return how many samples a presentation has."""
    time = run["output"]["prediction"].coords["time"]
    width = float(run.protocol["stimuli"]["input"]["width"].split()[0]) * 1e-3
    return round(width / (time[1] - time[0]))


def _rate(voltage):
    """Return the rate of the output cells at a voltage: their phi."""
    return np.log1p(np.exp(voltage))


def _outputs(ax, run, start, title):
    """Draw predicted rates of the outputs for a round of patterns, and what they shall be."""
    prediction = run["output"].sel(condition="all")["prediction"]
    target = _rate(run["teacher"].sel(condition="all")["rate"].values)
    time = prediction.coords["time"]
    chosen = (time >= start - 1e-9) & (time < start + 1.6 - 1e-9)
    at = time[chosen] - start
    units = zip(prediction.values[chosen].T, target[chosen].T, strict=True)
    for (y, wanted), colour in zip(units, (plot.BLUE, plot.RED, plot.GREEN), strict=False):
        ax.plot(at, y, color=colour)
        ax.plot(at, wanted, ":", color=colour, drawstyle="steps-post")
    ax.set_title(title)
    ax.margins(x=0)
    ax.set_xlabel("Time (s)")
    if title == "before":
        ax.set_ylabel("Output rate (dotted: target)")
