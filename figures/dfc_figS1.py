"""Figure S1: the four stability matrices, norms of rates, conditions and angles of one DFC run."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.figures._curves import rolling

REQUIRES = {"run": {"protocol": "dfc_fig3", "keys": {"method": "dfc", "feedback": "learned"}}}
MATRICES = {"A_tildeI": (r"$\tilde A_I$", plot.SKY, "-"), "A_I": ("$A_I$", plot.BLACK, ":"),
            "A_instI": ("$A_{instI}$", plot.RED, "-"), "A_PI": ("$A_{PI}$", plot.BLUE, "-")}
LAYERS = (plot.BLACK, plot.BLUE, plot.GREEN, plot.ORANGE)


def make(results):
    """Return the figure, 175 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(6.9, 2.0), layout="constrained")
    stability, norms, conditions, angles = fig.subplots(1, 4)
    for name, (label, colour, line) in MATRICES.items():
        mean, sd = (run.metrics[f"stability_{name}{end}"].values for end in ("", "_sd"))
        epochs = np.arange(len(mean))[1:]
        stability.plot(epochs, mean[1:], line, color=colour, label=label)
        stability.fill_between(epochs, (mean - sd)[1:], (mean + sd)[1:], color=colour, alpha=0.2,
                               linewidth=0)
    low, high = stability.get_ylim()
    stability.set_ylim(low - 0.3 * (high - low), high)  # room for the legend
    stability.set_ylabel(r"Leading eigenvalue ($1/\tau_u$)")
    for i, colour in enumerate(LAYERS[:sum(n.startswith("rate_norms_r") for n in run.metrics)]):
        rolling(norms, run, f"rate_norms_r{i}", color=colour, label=f"$r_{i}$")
    norms.set_ylabel("Norm of rates, relative to mean")
    for name, label, colour in (("condition_1", "1", plot.RED), ("condition_2", "2", plot.BLUE)):
        rolling(conditions, run, name, color=colour, label=f"condition {label}")
    conditions.set_ylim(0, 1.02)
    for name, label, colour in (("angle_gn", "GN", plot.GREEN), ("angle_mn", "MN", plot.PINK)):
        rolling(angles, run, name, color=colour, label=label)
    angles.set_ylabel("Angle to update (°)")
    angles.set_ylim(bottom=0)
    for ax, columns in ((stability, 2), (norms, 2), (conditions, 1), (angles, 2)):
        ax.set_xlabel("Epoch")
        ax.margins(x=0)
        ax.legend(ncols=columns, loc="upper right" if ax is norms else
                  "center right" if ax is conditions else "lower right")
    return fig
