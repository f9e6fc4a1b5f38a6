"""Firing rate against somatic current: an apical current raises the gain."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "fi_curve"}}


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    apical = run.protocol["conditions"]["driven"]["stimuli.apical.amplitude"]
    fig = Figure(figsize=(3.35, 2.2), layout="constrained")
    ax = fig.subplots()
    for condition, label, colour in (
        ("driven", f"with {apical} into the apical dendrite", plot.RED),
        ("alone", "without", plot.BLACK),
    ):
        plot.measure_by(
            run, ax, measure="firing_rate", key="current", condition=condition, label=label,
            color=colour,
        )
    ax.set_xlabel("Somatic current (pA)")
    ax.set_ylim(bottom=0)
    ax.legend()
    return fig
