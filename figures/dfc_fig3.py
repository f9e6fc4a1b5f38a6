"""Figure 3: conditions, stability, and angles to MN, GN and SSA while DFC learns a regression."""

from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.figures._curves import rolling

METHODS = {"dfc": ("DFC", plot.BLUE), "dfc_ss": ("DFC-SS", plot.ORANGE),
           "dfc_ssa": ("DFC-SSA", plot.GREEN)}
FEEDBACK = {"learned": ("", "-"), "fixed": (" (fixed)", "--")}
REQUIRES = {
    (method, feedback): {"protocol": "dfc_fig3", "keys": {"method": method, "feedback": feedback}}
    for method in METHODS for feedback in FEEDBACK
} | {("dfa", ""): {"protocol": "dfc_fig3", "keys": {"method": "dfa"}}}
PANELS = {
    "condition_2": "Condition 2",
    "condition_1": "Condition 1",
    "stability_A_PI": r"Leading eigenvalue ($1/\tau_u$)",
    "angle_mn": "Angle to MN (°)",
    "angle_gn": "Angle to GN (°)",
    "angle_ssa": "Angle to SSA (°)",
}


def make(results):
    """Return the figure, 175 mm wide: rolling means over 30 epochs and standard deviations."""
    fig = Figure(figsize=(6.9, 3.9), layout="constrained")
    axes = fig.subplots(2, 3, sharex=True)
    for ax, (metric, label) in zip(axes.flat, PANELS.items(), strict=True):
        for (method, feedback), run in results.items():
            if metric not in run.metrics or (metric == "condition_1" and method == "dfa"):
                continue
            if method == "dfa":
                name, colour, line = "DFA", plot.BLACK, ":"
            else:
                name, colour = METHODS[method]
                name, line = name + FEEDBACK[feedback][0], FEEDBACK[feedback][1]
            rolling(ax, run, metric, color=colour, linestyle=line, label=name)
        ax.set_ylabel(label)
        ax.margins(x=0)
    for ax in axes[1]:
        ax.set_ylim(bottom=0)
        ax.set_xlabel("Epoch")
    axes[0, 0].set_ylim(top=1.02)
    axes[0, 1].set_ylim(bottom=0)
    handles = axes[1, 0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside upper center", ncols=4)
    return fig
