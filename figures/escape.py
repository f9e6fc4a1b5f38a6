"""Voltages of the spiking pyramidal cell under a somatic step and an apical pulse."""

from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.files.units import quantity

REQUIRES = {"run": {"protocol": "escape_step"}}
TIMES = ("from", "to", "start", "width")


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(3.35, 2.6), layout="none")
    fig.subplots_adjust(left=0.13, right=0.99, bottom=0.13, top=1.0, hspace=0.05)
    stimuli, ticks, traces = fig.subplots(3, 1, sharex=True, height_ratios=[2, 1, 10])
    _stimuli(stimuli, run.protocol["stimuli"])
    plot.raster(run, ticks)
    ticks.text(-0.01, 0.5, "spikes", transform=ticks.transAxes, ha="right", va="center")
    for ax in (stimuli, ticks):
        ax.set_axis_off()
    plot.voltages(run, traces)
    return fig


def _stimuli(ax, stimuli):
    """Draw a bar for each current, in the colour of its compartment."""
    for row, stimulus in enumerate(stimuli.values()):
        start, length = _span(stimulus)
        colour = plot.COMPARTMENTS[stimulus["at"]][0]
        ax.barh(-row, length, left=start, height=0.5, color=colour)
        text = f"{stimulus['amplitude']} at {stimulus['at']}"
        ax.text(start + length + 4, -row, text, color=colour, va="center")


def _span(stimulus):
    """Return when a current begins and how long it lasts, in ms."""
    times = {k: quantity(v, k).value * 1e3 for k, v in stimulus.items() if k in TIMES}
    if "width" in times:
        return times["start"], times["width"]
    return times["from"], times["to"] - times["from"]
