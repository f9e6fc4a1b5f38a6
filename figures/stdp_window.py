"""STDP window of a rule at 1 and 20 Hz, with typical measured values at 1 Hz."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "stdp_window"}}
COLOURS = {"1 Hz": plot.BLUE, "20 Hz": plot.RED}


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(3.35, 2.1), layout="constrained")
    ax = fig.subplots()
    for rate in run.protocol["over"]["rate"]:
        plot.pairing(run, ax, key="lag", where={"rate": rate}, label=rate,
                     color=COLOURS.get(rate, plot.GREEN))
    ax.axvline(0, color=plot.GREY, linewidth=0.5, zorder=0)
    ax.set_xlabel("Lag, post minus pre (ms)")
    ax.legend(title="60 pairs at")
    return fig
