"""What pairing one synapse does to it and to another one of the same cell."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "heterosynaptic"}}


def make(results):
    """Return the figure, 85 mm wide."""
    fig = Figure(figsize=(3.35, 1.3), layout="constrained")
    for ax, (measure, title) in zip(
            fig.subplots(1, 2, sharex=True, sharey=True),
            (("paired", "paired synapse"), ("other", "other synapse")), strict=True):
        plot.bars(results["run"], ax, measure=measure)
        ax.set_title(title)
    return fig
