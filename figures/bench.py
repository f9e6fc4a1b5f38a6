"""Time per minibatch and part of the machine's matrix-product rate, by method and integrator."""

import json
import logging
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from dfc_neuro import plot
from dfc_neuro.errors import ResultsError

REQUIRES = {}
TABLE = Path("results") / "bench.json"  # dfc-neuro bench --json results/bench.json
NAMES = {
    ("torch_dfc", "euler", "none"): "DFC, PyTorch loop",
    ("dfc", "euler", "none"): "DFC, Euler",
    ("dfc", "fast", "none"): "DFC, fast",
    ("dfc", "averaged", "none"): "DFC, closed form",
    ("dfc_ss", "euler", "none"): "DFC-SS, Euler",
    ("dfc_ssa", "none", "none"): "DFC-SSA",
    ("feedback", "euler", "noisy"): "feedback, noisy",
    ("feedback", "none", "expected"): "feedback, expected",
    ("dfa", "none", "none"): "DFA",
    ("bp", "none", "none"): "BP",
    ("torch_bp", "none", "none"): "BP, PyTorch",
}
DTYPES = {"float32": (plot.BLUE, "o", -0.12), "float64": (plot.ORANGE, "s", 0.12)}


def make(results):
    """Return the figure, 85 mm wide; times on all threads."""
    table = measured()
    most = max(row["threads"] for row in table["rows"])
    rows = [row for row in table["rows"] if row["threads"] == most and key(row) in NAMES]
    shown = [k for k in NAMES if any(key(row) == k for row in rows)]
    fig = Figure(figsize=(3.35, 0.75 + 0.16 * len(shown)), layout="constrained")
    times, parts = fig.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    for dtype, (colour, marker, below) in DTYPES.items():
        mine = [row for row in rows if row["dtype"] == dtype]
        style = {"color": colour, "marker": marker, "linestyle": "", "label": dtype}
        times.plot([1e3 * row["seconds"] for row in mine],
                   [shown.index(key(row)) + below for row in mine], **style)
        counted = [row for row in mine if row["fraction_of_gemm"] is not None]
        parts.plot([row["fraction_of_gemm"] for row in counted],
                   [shown.index(key(row)) + below for row in counted], **style)
    times.set_xscale("log")
    times.xaxis.set_major_locator(LogLocator(numticks=12))
    times.xaxis.set_minor_formatter(NullFormatter())
    times.set_yticks(np.arange(len(shown)), [NAMES[k] for k in shown])
    times.set_ylim(len(shown) - 0.5, -0.5)
    times.set_xlabel("Time per minibatch (ms)")
    parts.set_xlim(0, 1)
    parts.set_xticks([0, 0.5, 1])
    parts.xaxis.set_major_formatter(PercentFormatter(1))
    parts.set_xlabel("Part of GEMM rate")
    for ax in (times, parts):
        ax.grid(axis="both", color="#dddddd", linewidth=0.5)
        ax.tick_params(axis="y", length=0)
        ax.set_axisbelow(True)
    handles = times.get_legend_handles_labels()
    fig.legend(*handles, loc="outside upper right", ncols=2)
    return fig


def key(row):
    return row["method"], row["integrator"], row["feedback"]


def measured():
    """Return the table of results/bench.json, or of a short benchmark if there is none."""
    if TABLE.is_file():
        try:
            table = json.loads(TABLE.read_text(encoding="utf-8"))
            if {"seconds", "fraction_of_gemm"} <= set(table["rows"][0]):
                return table
        except (ValueError, KeyError, IndexError, TypeError):
            pass
        raise ResultsError(str(TABLE), "is not a table of dfc-neuro bench",
                           f"make it anew: dfc-neuro bench --json {TABLE}")
    from dfc_neuro.bench import bench
    from dfc_neuro.bench._report import as_json

    logging.getLogger("dfc_neuro").info(
        "no %s: measuring float32; 'dfc-neuro bench --json %s' measures all", TABLE, TABLE)
    return as_json(bench(quick=True, peaks=False))
