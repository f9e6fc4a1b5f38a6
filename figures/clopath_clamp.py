"""Weight change against the voltage of a clamp, with the closed form of the Clopath rules."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.files.units import quantity

REQUIRES = {"run": {"protocol": "clopath_clamp"}}


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(3.35, 2.0), layout="constrained")
    whole, detail = fig.subplots(1, 2)
    known = {"theta_minus", "theta_plus"} <= set(run.model["rules"]["test"]["parameters"])
    for ax in (whole, detail):
        plot.weight_change(run, ax, key="voltage", linestyle="", label="simulated", zorder=3)
        ax.set_xlabel("Clamp voltage (mV)")
        if known:
            voltage = np.linspace(*ax.get_xlim(), 1000)
            ax.plot(voltage, closed_form(run, voltage), color=plot.RED, label="closed form")
    if "ratio" in run.published:
        start = run.protocol["plastic"]["test"]["w"]
        mean = run.published["ratio"]["mean"]
        at = [float(str(c).removeprefix("voltage=").removesuffix(" mV"))
              for c in mean.coords["condition"]]
        whole.plot(at, start * (mean.values / 100 - 1), "s", color=plot.GREEN, markersize=4,
                   markerfacecolor="white", label="measured")
    whole.legend(loc="upper left")
    whole.set_ylim(top=1.35 * max(whole.get_ylim()[1], 1e-3))
    changes = whole.lines[0].get_ydata()
    detail.set_xlim(right=-38)
    if known and changes.min() < 0:
        detail.set_ylim(1.25 * changes.min(), -changes.min())
    detail.axhline(0, color=plot.GREY, linewidth=0.5, zorder=0)
    detail.set_ylabel("")
    detail.set_title("detail")
    return fig


def closed_form(run, voltage):
    """Return the change of the weight after all spikes at each clamp voltage (mV).

    Each presynaptic spike adds [V - theta_minus]+ (A_LTP [V - theta_plus]+ - A_LTD), as long as
    the weight is within its bounds (Clopath et al. 2010, doi:10.1038/nn.2479).
    """
    rule = run.model["rules"]["test"]
    p = {
        key: quantity(value, f"parameters.{key}").value for key, value in rule["parameters"].items()
    }
    start, train = run.protocol["plastic"]["test"]["w"], run.protocol["stimuli"]["pre"]["train"]
    v = voltage * 1e-3
    step = np.maximum(v - p["theta_minus"], 0) * (
        p["A_LTP"] * np.maximum(v - p["theta_plus"], 0) - p["A_LTD"]
    )
    return np.clip(start + train["n"] * train.get("repeat", 1) * step, *rule["bounds"]["w"]) - start
