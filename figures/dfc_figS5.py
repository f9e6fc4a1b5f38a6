"""Figures S5 to S12: alignment of updates and feedback weights on images, of the runs there are."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {}
COLLECTS = "dfc_figS5"  # dfc-neuro sweep dfc_figS5 --over ...
COLUMNS = {"mnist": "MNIST", "fmnist": "Fashion-MNIST", "autoencoder": "autoencoder"}
PANELS = {
    "angle_bp": "Angle to BP (°)",
    "angle_mn": "Angle to MN (°)",
    "angle_ssa": "Angle to SSA (°)",
    "condition_2": "Condition 2",
    "angle_q_jt": "Angle of Q to $J^T$ (°)",
}
METHODS = {"dfc": ("DFC", plot.BLUE), "dfc_ss": ("DFC-SS", plot.ORANGE),
           "dfc_ssa": ("DFC-SSA", plot.GREEN), "dfa": ("DFA", plot.BLACK)}


def make(results):
    """Return the figure, 175 mm wide: a row a task, a line a run, dashed where Q is fixed."""
    runs = sorted(((run.protocol, run) for run in results["runs"]), key=lambda one: (
        list(METHODS).index(one[0]["method"]) if one[0]["method"] in METHODS else len(METHODS),
        one[0].get("feedback") == "fixed"))
    shown = [c for c in COLUMNS if any(held["variables"]["column"] == c for held, _ in runs)]
    fig = Figure(figsize=(6.9, 0.5 + 1.5 * len(shown)), layout="constrained")
    axes = fig.subplots(len(shown), len(PANELS), sharex="row", squeeze=False)
    lines = {}
    for row, column in zip(axes, shown, strict=True):
        for held, run in runs:
            if held["variables"]["column"] != column or held["method"] not in METHODS:
                continue
            name, colour = METHODS[held["method"]]
            fixed = held.get("feedback") == "fixed" and held["method"] != "dfa"
            style = {"color": colour, "linestyle": "--" if fixed else "-"}
            for ax, metric in zip(row, PANELS, strict=True):
                if metric in run.metrics:
                    curve = run.metrics[metric]
                    (line,) = ax.plot(curve.coords["epoch"], curve.values, **style)
                    lines.setdefault(name + (" (fixed)" if fixed else ""), line)
        for ax, label in zip(row, PANELS.values(), strict=True):
            ax.set_ylabel(label)
            ax.set_ylim(0, 1.02 if "Condition" in label else None)
            ax.set_xlabel("Epoch")
            ax.margins(x=0)
        row[0].set_title(COLUMNS[column])
    fig.legend(lines.values(), lines, loc="outside upper center", ncols=7)
    return fig
