"""Weight after pairing at +10 and -10 ms against frequency, beside measurements in slices."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {
    "run": {"protocol": "pairing_frequency"},
    "published": {"protocol": "pairing_frequency", "keys": {"as_published": True}},
}
COLOURS = {"10 ms": plot.BLUE, "-10 ms": plot.RED}


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(3.35, 2.2), layout="constrained")
    ax = fig.subplots()
    for lag in run.protocol["over"]["lag"]:
        colour = COLOURS.get(lag, plot.GREEN)
        plot.pairing(run, ax, key="frequency", where={"lag": lag}, label=f"lag {lag}",
                     color=colour)
        if "published" in results:
            plot.pairing(results["published"], ax, key="frequency", where={"lag": lag}, data=False,
                         label=f"lag {lag}, as published", color=colour, linestyle=":",
                         marker="")
    ax.set_xlabel("Pairing frequency (Hz)")
    ax.legend()
    return fig
