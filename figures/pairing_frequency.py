"""Weight after pairing at +10 and -10 ms against frequency, beside measurements in slices."""

from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.figures._pairing import curves

REQUIRES = {
    "run": {"protocol": "pairing_frequency"},
    "published": {"protocol": "pairing_frequency", "keys": {"as_published": True},
                  "optional": True},
}
COLOURS = {"10 ms": plot.BLUE, "-10 ms": plot.RED}


def make(results):
    """Return the figure, 85 mm wide."""
    fig = Figure(figsize=(3.35, 2.2), layout="constrained")
    ax = fig.subplots()
    shown = curves(ax, results["run"], "frequency", "lag", COLOURS, results.get("published"))
    ax.set_xlabel("Pairing frequency (Hz)")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.25 * (high - low))
    ax.legend(shown.values(), shown, title="lag", ncols=2, loc="upper left")
    return fig
