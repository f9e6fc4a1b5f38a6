"""The same pairing near the soma and far from it, with the voltages that the synapses see."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "proximal_distal"}}


def make(results):
    """Return the figure, 175 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(6.9, 1.9), layout="constrained")
    weights, resting, driven = fig.subplots(1, 3)
    plot.bars(run, weights)
    start = 1e3 * run["voltage"]["V_m_soma"].coords["time"][0]
    for ax, condition in ((resting, "distal"), (driven, "distal_depolarised")):
        plot.voltages(run, ax, condition=condition, legend=ax is driven)
        ax.set_title(condition.replace("_", " "))
        first = run.protocol["stimuli"]["pre"]["train"]["start"]
        at = float(str(first).removesuffix(" ms"))
        ax.set_xlim(max(start, at - 20), at + 140)
    return fig
