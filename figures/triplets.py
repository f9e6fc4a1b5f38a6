"""Weight after triplets of spikes in both orders and after quadruplets."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "triplets"}}


def make(results):
    """Return the figure, 85 mm wide."""
    fig = Figure(figsize=(3.35, 2.4), layout="constrained")
    plot.bars(results["run"], fig.subplots())
    return fig
