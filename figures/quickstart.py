"""Learning curve, angles to GN and BP, the plastic change, and voltages before and after."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "quickstart"}}


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(3.35, 4.1), layout="constrained")
    top, middle, bottom = fig.subfigures(3, 1)

    a, b = top.subplots(1, 2)
    plot.learning_curve(run, a)
    a.set_ylim(0, 130 * np.max(run.metrics["test_error"].values[1:], initial=0.01))
    plot.angles(run, b)

    c = middle.subplots()
    epochs = run["voltages"]["v_soma"].coords["epoch"]
    plot.plasticity(run, c, epoch=run["plasticity"]["mismatch"].coords["epoch"][0])
    middle.colorbar(c.collections[0], ax=c, label="Presynaptic rate", aspect=12)

    d, e = bottom.subplots(1, 2, sharey=True)
    for ax, epoch in ((d, epochs[0]), (e, epochs[-1])):
        plot.voltages(run, ax, epoch=epoch, relative=True, exponent=-3, legend=ax is e)
        ax.set_title("before learning" if epoch == 0 else f"after epoch {epoch}")
    e.set_ylabel("")
    return fig
