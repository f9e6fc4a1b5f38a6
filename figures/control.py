"""Output and controller approaching the target through the control phase."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.figures._runs import CONTROL_PHASE

REQUIRES = {"run": CONTROL_PHASE}
SHOWN = 3  # output units: those whose target is farthest


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    at = run["control"].isel(epoch=-1, sample=0)
    distance = np.abs(at["target"].values[-1] - at["r_output"].values[0])
    units = np.argsort(distance)[::-1][:SHOWN]

    fig = Figure(figsize=(3.35, 3.0), layout="constrained")
    output, controller = fig.subplots(2, 1, sharex=True)
    plot.control(run, output, units=units, relative=True)
    plot.control(run, controller, what="u", units=units)
    output.set_xlabel("")
    output.set_title("output, and its target (dotted)")
    controller.set_title("controller")
    controller.legend(ncols=SHOWN)
    return fig
