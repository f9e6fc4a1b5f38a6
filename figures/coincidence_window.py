"""Apical input and a backpropagating spike: the lags that give a calcium spike, the input saved."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {
    "window": {"protocol": "coincidence_window"},
    "threshold": {"protocol": "calcium_threshold"},
}


def make(results):
    """Return the figure, 85 mm wide."""
    fig = Figure(figsize=(3.35, 1.9), layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True)
    plot.measure_by(results["window"], left, measure="apical_peak", key="lag", color=plot.RED)
    left.set_xlabel("Input after pulse (ms)")
    left.set_ylabel("Apical peak (mV)")
    left.set_title(f"{results['window'].protocol['stimuli']['epsc']['amplitude']}, at a lag")
    for condition, label, colour, place in (
        ("paired", "with a spike", plot.RED, (0.27, 0.78)),
        ("alone", "without", plot.GREY, (0.5, 0.04)),
    ):
        plot.measure_by(
            results["threshold"], right, measure="apical_peak", key="input", condition=condition,
            color=colour,
        )
        right.text(*place, label, color=colour, transform=right.transAxes)
    right.set_xlabel("Apical input (pA)")
    right.set_ylabel("")
    right.set_title("5 ms after the pulse")
    return fig
