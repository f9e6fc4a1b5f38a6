"""Attenuation from soma to dendrite and back: long steps, and brief synaptic currents."""

from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.files.units import quantity

REQUIRES = {"run": {"protocol": "attenuation"}}
PANELS = (  # condition, title, from, to
    ("step_soma", "step at the soma", "soma", "apical"),
    ("step_apical", "step at the apex", "apical", "soma"),
    ("epsc_basal", "synapse at the base", "basal", "soma"),
    ("epsc_apical", "synapse at the apex", "apical", "soma"),
)


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    voltages = run["voltages"]
    fig = Figure(figsize=(3.35, 3.2), layout="constrained")
    axes = fig.subplots(2, 2, sharey="row")
    for ax, (condition, title, near, far) in zip(axes.flat, PANELS, strict=True):
        plot.voltages(run, ax, condition=condition, relative=True, legend=False, exponent=0)
        ax.set_title(title)
        ax.set_ylabel("Voltage change (mV)" if ax in axes[:, 0] else "")
        brief = condition.startswith("epsc")
        deflection = {
            place: _deflection(voltages[f"V_m_{place}"].sel(condition=condition), brief)
            for place in (near, far)
        }
        text = f"{far} / {near} {deflection[far] / deflection[near]:.2f}"
        if brief:
            ax.set_xlim(40, 120)
        else:
            current = quantity(
                run.protocol["conditions"][condition][f"stimuli.{condition}.amplitude"], "amplitude"
            )
            text += f"\n$R_{{in}}$ {deflection[near] / current.value * 1e-6:.1f} MΩ"
        ax.text(0.99, 0.95, text, transform=ax.transAxes, ha="right", va="top")
        if ax in axes[0]:
            ax.set_xlabel("")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


def _deflection(trace, brief):
    """Return how far a trace is from its first value: at the peak, or in the steady state."""
    change = trace.values[:, 0] - trace.values[0, 0]
    return change.max() if brief else change[-1]
