"""Deep Feedback Control answers a step of its target: voltages of a hidden neuron, weights."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "dfc_step"}}
COLOURS = {"same": plot.GREY, "up": plot.BLUE, "down": plot.RED}


def make(results):
    """Return the figure, 175 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(6.9, 1.9), layout="constrained")
    voltage, error, weight = fig.subplots(1, 3)
    plot.voltages(run, voltage, name="hidden", condition="up")
    voltage.set_title("hidden neuron, target up")
    for ax, name, variable, label in ((error, "control", "error", "Error of the output"),
                                      (weight, "w1", "w", "Hidden weight")):
        found = run[name][variable]
        time = 1e3 * found.coords["time"]
        for condition, colour in COLOURS.items():
            ax.plot(time, found.sel(condition=condition).values.reshape(len(time), -1)[:, 0],
                    color=colour, label=condition)
        ax.set_xlabel("Time (ms)")
        ax.set_ylabel(label)
    error.legend(title="target")
    return fig
