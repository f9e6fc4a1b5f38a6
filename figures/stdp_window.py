"""STDP window of a rule at 1 and 20 Hz, with typical measured values at 1 Hz."""

from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.figures._pairing import curves

REQUIRES = {"run": {"protocol": "stdp_window"}}
COLOURS = {"1 Hz": plot.BLUE, "20 Hz": plot.RED}


def make(results):
    """Return the figure, 85 mm wide."""
    fig = Figure(figsize=(3.35, 2.1), layout="constrained")
    ax = fig.subplots()
    shown = curves(ax, results["run"], "lag", "rate", COLOURS)
    ax.axvline(0, color=plot.GREY, linewidth=0.5, zorder=0)
    ax.set_xlabel("Lag, post minus pre (ms)")
    ax.legend(shown.values(), shown, title="60 pairs at", loc="upper left")
    return fig
