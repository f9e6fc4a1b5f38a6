"""Curves by epoch that several figures draw: smoothed, with their spread; families by a key."""

import numpy as np
from matplotlib import colormaps

from dfc_neuro import plot

WINDOW = 30  # epochs


def rolling(ax, run, name, *, factor=1.0, **style):
    """Draw the rolling mean of a metric from epoch 1 on, and a band of one standard deviation."""
    curve = run.metrics[name]
    values = np.asarray(curve.values, float)[1:] * factor
    epochs = np.asarray(curve.coords["epoch"])[1:]
    window = min(WINDOW, len(values))
    parts = np.lib.stride_tricks.sliding_window_view(values, window)
    mean, sd = parts.mean(axis=1), parts.std(axis=1)
    at = epochs[window - 1:]
    (line,) = ax.plot(at, mean, **style)
    ax.fill_between(at, mean - sd, mean + sd, color=line.get_color(), alpha=0.2, linewidth=0)


def family(fig, results, label, columns):
    """Draw metrics against the pass that trains Q: a row a nonlinearity, a colour a value.

    Parameters
    ----------
    fig : matplotlib Figure
    results : dict
        {(nonlinearity, value): Result}.
    label : str
        Label of the legend.
    columns : dict
        Metric: label of its axis.
    """
    nets = list(dict.fromkeys(net for net, _ in results))
    values = list(dict.fromkeys(value for _, value in results))
    colours = dict(zip(values, colormaps["viridis"](np.linspace(0, 0.9, len(values))), strict=True))
    axes = fig.subplots(len(nets), len(columns), sharex=True, sharey="col", squeeze=False)
    for row, net in zip(axes, nets, strict=True):
        for ax, (metric, name) in zip(row, columns.items(), strict=True):
            for value in values:
                curve = results[net, value].metrics[metric]
                ax.plot(curve.coords["epoch"], curve.values, color=colours[value],
                        label=f"{value:g}")
            ax.set_ylabel(name)
            ax.set_title(net)
            ax.margins(x=0)
            if "Condition" in name:
                ax.set_ylim(top=1.02)
                ax.axhline(1, color=plot.GREY, linewidth=0.5, zorder=0)
            else:
                ax.set_ylim(0, 92)
                ax.set_yticks([0, 30, 60, 90])
    for ax in axes[-1]:
        ax.set_xlabel("Passes over the data")
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, title=label, loc="outside right center")
    return fig


def needed(protocol, key, values):
    """Return the runs of a family: both networks, each value of a key."""
    return {(net, value): {"protocol": protocol, "keys": {"nonlinearity": net, key: value}}
            for net in ("linear", "tanh") for value in values}
