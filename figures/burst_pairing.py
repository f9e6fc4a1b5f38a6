"""Weight after a presynaptic spike was paired with bursts: by number and rate of their spikes."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "burst_pairing"}}


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    found = run.measures["weight_change"]
    weight = dict(zip(map(str, found.coords["condition"]), np.ravel(found.values), strict=True))
    fig = Figure(figsize=(3.35, 1.9), layout="constrained")
    count, rate = fig.subplots(1, 2, sharey=True)
    for side, colour in (("after", plot.BLUE), ("before", plot.RED)):
        count.plot([1, 2, 3], [weight[f"{side}_{n}"] for n in (1, 2, 3)], "o-", color=colour,
                   markersize=3, label=f"10 ms {side}")
    rates = {50: weight["after_3"]} | {
        int(name[6:-2]): value for name, value in weight.items() if name.endswith("Hz")}
    rate.plot(*zip(*sorted(rates.items()), strict=True), "o-", color=plot.BLUE, markersize=3)
    for ax in (count, rate):
        ax.axhline(100, color=plot.GREY, linewidth=0.5, zorder=0)
    count.set_xticks([1, 2, 3])
    count.set_xlabel("Spikes in the burst, 50 Hz")
    count.set_ylabel("Weight (% of start)")
    count.legend(title="postsynaptic burst")
    rate.set_xlabel("Rate in the burst of 3 (Hz)")
    return fig
