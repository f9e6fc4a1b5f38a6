"""Backpropagation-activated calcium firing: a somatic pulse, an apical input, both."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.files.units import quantity

REQUIRES = {"run": {"protocol": "bac_firing"}}
TITLES = {
    "BAP": "somatic pulse",
    "EPSC": "apical input",
    "BAC": "both",
    "EPSC_x3": "threefold apical input",
}
SHOWN = (285, 375)  # ms


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(3.35, 3.5), layout="constrained")
    axes = fig.subplots(4, 2, sharex=True, sharey="row", height_ratios=[1, 4, 1, 4])
    for k, (condition, title) in enumerate(TITLES.items()):
        above, ax = axes[2 * (k // 2) : 2 * (k // 2) + 2, k % 2]
        _currents(above, run.protocol, condition)
        above.set_title(title)
        plot.voltages(run, ax, condition=condition, legend=False)
        ax.set_xlim(SHOWN)
        ax.set_ylim(-90, 60)
        ax.set_ylabel("" if k % 2 else "Voltage (mV)")
        ax.set_xlabel("Time (ms)" if k > 1 else "")
    axes[1, 1].legend(*axes[1, 0].get_legend_handles_labels(), loc="upper right")
    return fig


def _currents(ax, protocol, condition):
    """Draw the pulse and the synaptic current of a condition, in nA."""
    given = protocol["conditions"][condition]
    time = np.linspace(*SHOWN, 1801)
    for name, stimulus in protocol["stimuli"].items():
        key = f"stimuli.{name}.amplitude"
        height = quantity(given.get(key, stimulus["amplitude"]), key).value * 1e9
        after = time - _ms(stimulus, "start")
        if stimulus["type"] == "pulse":
            shape = (after >= 0) & (after < _ms(stimulus, "width"))
        else:
            rise, decay = _ms(stimulus, "tau_rise"), _ms(stimulus, "tau_decay")
            shape = np.where(after >= 0, np.exp(-after / decay) - np.exp(-after / rise), 0)
            shape = shape / shape.max()
        if height:
            colour = plot.COMPARTMENTS[stimulus["at"]][0]
            ax.fill_between(time, height * shape, color=colour, lw=0)
            x, y = (302, 1.2) if stimulus["type"] == "pulse" else (318, 0.3)
            ax.text(x, y, f"{height:g} nA", color=colour)
    ax.set_axis_off()
    ax.set_ylim(0, 2)


def _ms(stimulus, key):
    return quantity(stimulus[key], key).value * 1e3
