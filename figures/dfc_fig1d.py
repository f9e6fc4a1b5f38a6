"""Figure 1D: output and controller approach the target in a network with learned feedback."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "dfc_fig1d"}}


def make(results):
    """Return the figure, 85 mm wide."""
    fig = Figure(figsize=(3.35, 1.8), layout="constrained")
    output, controller = fig.subplots(1, 2)
    plot.control(results["run"], output)
    plot.control(results["run"], controller, what="u")
    output.set_title("output (target dotted)")
    controller.set_title("controller")
    return fig
