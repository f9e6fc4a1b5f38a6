"""Apical, basal and somatic voltages of chosen neurons through the control phase."""

from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.figures._runs import CONTROL_PHASE

REQUIRES = {"run": CONTROL_PHASE}


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    soma = run["voltages"]["v_soma"]
    units = soma.coords["unit"][:3]

    fig = Figure(figsize=(3.35, 1.2 + 0.95 * len(units)), layout="constrained")
    axes = fig.subplots(len(units), 1, sharex=True, squeeze=False)[:, 0]
    for ax, unit in zip(axes, units, strict=True):
        plot.voltages(run, ax, unit=unit, relative=True, legend=False, exponent=-3)
        start = float(soma.sel(unit=unit).isel(epoch=-1, time=0, sample=0))
        ax.set_title(f"neuron {unit} ({start:.2f} without control)")
        ax.set_ylabel("")
        if ax is not axes[-1]:
            ax.set_xlabel("")
    fig.supylabel("Voltage change ($10^{-3}$)", fontsize=7)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return fig
