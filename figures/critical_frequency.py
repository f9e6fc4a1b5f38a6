"""Trains of backpropagating spikes: calcium spikes above a critical frequency."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.files.units import quantity

REQUIRES = {"run": {"protocol": "critical_frequency"}}
SPIKE = -0.02  # V; only calcium spikes rise above


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    peaks = run.measures["apical_peak"]
    names = peaks.coords["condition"]
    frequency = np.array([float(n.partition("=")[2]) for n in names])
    spikes = peaks.values > SPIKE
    first = max(1, np.argmax(spikes)) if spikes.any() else len(names) - 1
    shown = names[first - 1 : first + 1]

    fig = Figure(figsize=(3.35, 2.6), layout="constrained")
    grid = fig.add_gridspec(2, 2)
    start = quantity(run.protocol["stimuli"]["pulses"]["start"], "start").value * 1e3
    for row, name in enumerate(shown):
        ax = fig.add_subplot(grid[row, 0])
        plot.voltages(run, ax, condition=name, legend=False)
        ax.set_xlim(start - 10, start + 100)
        ax.set_ylim(-90, 60)
        ax.set_title(f"{frequency[names == name][0]:g} Hz")
        if row == 0:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
            ax.legend(*ax.get_legend_handles_labels())
    ax = fig.add_subplot(grid[:, 1])
    plot.measure_by(run, ax, measure="apical_peak", key="frequency", color=plot.RED)
    ax.set_xlabel("Frequency (Hz)")
    ax.set_ylabel("Apical peak (mV)")
    return fig
