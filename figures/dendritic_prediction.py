"""A dendrite learns to predict a taught soma: before, at the end, and without the teacher."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "dendritic_prediction"}}
PERIOD = 200  # samples of a pattern


def make(results):
    """Return the figure, 175 mm wide."""
    run = results["run"]
    soma, predicted = (1e3 * run["voltages"][name].values[:, 0, 0]
                       for name in ("V_m_soma", "V_predicted"))
    count = len(soma) // PERIOD
    fig = Figure(figsize=(6.9, 2.0), layout="constrained")
    axes = fig.subplots(1, 4, gridspec_kw={"width_ratios": [1, 1, 1, 1.3]})
    for ax in axes[1:3]:
        ax.sharey(axes[0])
        ax.tick_params(labelleft=False)
    shown = ((2, "first taught"), (count - 4, "last taught"), (count - 2, "teacher removed"))
    time = np.arange(2 * PERIOD)
    for ax, (first, title) in zip(axes, shown, strict=False):
        part = slice(first * PERIOD, (first + 2) * PERIOD)
        ax.plot(time, soma[part], color=plot.BLACK, label="soma")
        ax.plot(time, predicted[part], "--", color=plot.BLUE, label="predicted")
        ax.set_title(title)
        ax.set_xlabel("Time (ms)")
    axes[0].set_ylabel("Voltage (mV)")
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.4 * (high - low))
    axes[0].legend(loc="upper left", handlelength=1.2)
    blocks = [slice(k * PERIOD, (k + 2) * PERIOD) for k in range(2, count - 2, 2)]
    axes[3].plot([2 + 2 * k for k in range(len(blocks))],
                 [np.corrcoef(soma[b], predicted[b])[0, 1] for b in blocks], color=plot.BLUE)
    axes[3].set_xlabel("Pattern")
    axes[3].set_ylabel("Correlation")
    return fig
