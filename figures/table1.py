"""Table 1: test error, test loss and training loss of every method, as a table and a plot."""

from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.files import resolve
from dfc_neuro.files.keys import flat
from dfc_neuro.statistics import estimate, paired
from dfc_neuro.table import Table

REQUIRES = {}
COLLECTS = "table1"  # dfc-neuro sweep table1 --over ...

# column of the table: heading, what selects the epoch, what is shown of it, factor, digits
COLUMNS = {
    "mnist": ("MNIST, test error (%)", "validation_error", "test_error", 100, 2),
    "fmnist": ("Fashion-MNIST, test error (%)", "validation_error", "test_error", 100, 2),
    "autoencoder": ("MNIST autoencoder, test loss", "validation_loss", "test_loss", 1, 4),
    "mnist_train": ("MNIST, training loss", "train_loss", "train_loss", 1, 6),
}
BP = ("bp", "")
ROWS = {
    BP: "BP",
    ("dfc", "learned"): "DFC",
    ("dfc_ssa", "learned"): "DFC-SSA",
    ("dfc_ss", "learned"): "DFC-SS",
    ("dfc", "fixed"): "DFC (fixed)",
    ("dfc_ssa", "fixed"): "DFC-SSA (fixed)",
    ("dfc_ss", "fixed"): "DFC-SS (fixed)",
    ("dfa", ""): "DFA",
}
NOT_COMPARED = ("feedback", "method", "variables.column", "summary", "references", "departures")


def make(results):
    """Return the figure, 175 mm wide: each seed, and mean and standard deviation."""
    cells = collected(results["runs"])[0]
    shown = [name for name in COLUMNS if any(column == name for _, column in cells)]
    fig = Figure(figsize=(6.9, 2.3), layout="constrained")
    axes = fig.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, column in zip(axes, shown, strict=True):
        for k, row in enumerate(ROWS):
            if (row, column) not in cells:
                continue
            cell = cells[row, column]
            colour = plot.BLUE if "fixed" in row else plot.RED if row[1] else plot.BLACK
            values = list(cell["by_seed"].values())
            ax.plot(values, [k] * len(values), "|", color=plot.GREY, markersize=6)
            bar = None if np.isnan(cell["sd"]) else cell["sd"]
            ax.errorbar(cell["mean"], k, xerr=bar, fmt="o", color=colour, capsize=2)
        ax.set_xlabel(COLUMNS[column][0])
        ax.grid(axis="y", color="#dddddd", linewidth=0.5)
        ax.tick_params(axis="y", length=0)
        ax.set_axisbelow(True)
    axes[0].set_yticks(range(len(ROWS)), list(ROWS.values()))
    axes[0].set_ylim(len(ROWS) - 0.5, -0.5)
    return fig


def table(results):
    """Return the table: mean and standard deviation, (seeds, epochs) of each cell."""
    cells, notes = collected(results["runs"])
    rows, records = [], []
    for row, label in ROWS.items():
        texts = [label]
        for column, (*_, digits) in COLUMNS.items():
            cell = cells.get((row, column))
            texts.append(shown(cell, digits) if cell else "-")
            if cell:
                records.append({"method": label, "column": column, **{
                    k: cell[k] for k in ("seeds", "epochs", "mean", "sd", "low", "high")},
                    **against(cell, cells.get((BP, column))), "changed": cell["changed"]})
        rows.append(texts)
    head = ["", *(heading for heading, *_ in COLUMNS.values())]
    return Table(head, rows, records, [
        "In each cell: mean ± standard deviation (seeds, epochs of training).",
        "Of each run counts the epoch of least validation error (MNIST, Fashion-MNIST), "
        "validation loss (autoencoder) or training loss (last column).",
        "table1.csv has 95 % bootstrap intervals, and differences to BP paired by seed.", *notes])


def against(cell, bp):
    """Return the difference of a cell to that of BP over the seeds that both have."""
    found = paired(cell["by_seed"], bp["by_seed"] if bp else {})
    return {"pairs": found.n, "minus_bp": found.mean, "minus_bp_low": found.low,
            "minus_bp_high": found.high}


def shown(cell, digits):
    """Return a cell as text."""
    spread = "" if np.isnan(cell["sd"]) else f" ± {cell['sd']:.{digits}f}"
    mark = "*" if cell["changed"] else ""
    return f"{cell['mean']:.{digits}f}{spread} ({cell['seeds']}, {cell['epochs']}){mark}"


def collected(runs):
    """Return the cells that rest on runs, and notes on what was left out or changed.

    Runs of a cell that differ in more than the seed are not mixed: those of the most epochs
    count, then those of the most seeds.
    """
    groups = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        held = run.protocol
        method, column = held["method"], held.get("variables", {}).get("column")
        row = (method, "" if method in ("bp", "dfa") else held.get("feedback", "learned"))
        if row in ROWS and column in COLUMNS:
            same = tuple(sorted((k, repr(v)) for k, v in flat(held).items()
                                if k not in NOT_COMPARED))
            groups[row, column][same][int(run.attrs["seed"])] = run
    cells, notes = {}, []
    for (row, column), settings in groups.items():
        ranked = sorted(settings.values(), reverse=True, key=lambda of: (
            next(iter(of.values())).protocol["schedule"]["epochs"], len(of)))
        cells[row, column] = cell = made(ranked[0], row, column)
        name = f"{ROWS[row]}, {column}"
        if cell["changed"]:
            notes.append(f"* {name}: runs with {cell['changed']}.")
        if len(ranked) > 1:
            others = sum(map(len, ranked[1:]))
            notes.append(f"{name}: {others} runs of other settings are left out.")
    return cells, notes


def made(by_seed, row, column):
    """Return the numbers of one cell."""
    _, chosen_by, measured, factor, _ = COLUMNS[column]
    values = {seed: selected(run, chosen_by, measured) * factor
              for seed, run in sorted(by_seed.items())}
    first = next(iter(by_seed.values()))
    found = estimate(list(values.values()))
    return {"by_seed": values, "seeds": found.n, "epochs": first.protocol["schedule"]["epochs"],
            "mean": found.mean, "sd": found.sd, "low": found.low, "high": found.high,
            "changed": changed(first, row, column)}


def selected(run, chosen_by, measured):
    """Return a metric at the epoch, from 1, at which another is least."""
    by = np.asarray(run.metrics[chosen_by].values, float)[1:]
    return float(run.metrics[measured].values[1:][np.nanargmin(by)])


def changed(run, row, column):
    """Return in which keys a run differs from the protocol table1, as text."""
    keys = {"method": row[0], "column": column} | ({"feedback": row[1]} if row[1] else {})
    wanted, held = flat(resolve.protocol("table1", keys).source), flat(run.protocol)
    return "; ".join(f"{key} = {held.get(key, 'unset')}" for key in sorted({*wanted, *held})
                     if key not in NOT_COMPARED and held.get(key) != wanted.get(key))
