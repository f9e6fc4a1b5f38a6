"""Weights after pairing against one key, a curve for each value of another: what figures share."""

from dfc_neuro import plot


def curves(ax, run, key, by, colours, published=None):
    """Draw the curves of a run, what was measured, and those of a run of the published code.

    Parameters
    ----------
    ax : matplotlib Axes
    run : Result
    key, by : str
        Keys of the conditions: on the horizontal axis, and told apart by colour.
    colours : dict
        Of the values of `by`; others are green.
    published : Result, optional
        Drawn dotted.
    """
    for value in run.protocol["over"][by]:
        colour = colours.get(value, plot.GREEN)
        plot.pairing(run, ax, key=key, where={by: value}, label=value, color=colour)
        if published is not None:
            plot.pairing(published, ax, key=key, where={by: value}, data=False, label="",
                         color=colour, linestyle=":", marker="")
    handles, labels = ax.get_legend_handles_labels()
    shown = {label: handle for handle, label in zip(handles, labels, strict=True)
             if "measured" not in label}
    if len(shown) < len(labels):
        shown["measured"] = ax.errorbar([], [], [], fmt="s", markersize=4, capsize=2,
                                        markerfacecolor="white", color=plot.GREY)
    if published is not None:
        shown["as published"] = ax.plot([], [], ":", color=plot.GREY)[0]
    return shown
