"""Write the small tables of docs/results: what the figures of the paper were drawn from.

Run it in the folder where ``results`` lies: ``python benchmarks/paper_summary.py docs/results``.
Weights are not kept; of long runs every tenth epoch is.
"""

from __future__ import annotations

import csv
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

import dfc_neuro as dn
from dfc_neuro.run import result_path

FIGURES = {
    "dfc_fig3": ("condition_1", "condition_2", "stability_A_PI", "stability_A_PI_sd", "angle_mn",
                 "angle_gn", "angle_ssa", "angle_bp", "test_loss"),
    "dfc_figS2": ("angle_q_jt", "angle_q_pinv", "condition_2"),
    "dfc_figS3": ("angle_q_jt", "angle_q_pinv", "condition_2"),
    "dfc_figS4": ("angle_q_jt", "angle_q_pinv", "condition_2"),
}


def runs(name: str) -> dict[str, dn.Result]:
    """Return the finished runs that a figure needs, by their role."""
    found = {}
    for role, needed in import_module(f"dfc_neuro.figures.{name}").REQUIRES.items():
        path = result_path(needed["protocol"], seed=needed.get("seed"), keys=needed.get("keys"))
        if path.exists():
            found[" ".join(map(str, role)).strip()] = dn.Result(path)
        else:
            print(f"{name}: {role} has not been run", file=sys.stderr)
    return found


def write(path: Path, head: list[str], rows: list[list]) -> None:
    """Write a table, numbers to six digits."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(head)
        table.writerows([f"{v:.6g}" if isinstance(v, float) else v for v in row] for row in rows)
    print(path)


def main(folder: Path) -> None:
    """Write a table a figure."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, metrics in FIGURES.items():
        rows = []
        for role, run in runs(name).items():
            last = run.protocol["schedule"]["epochs"]
            for epoch in sorted({*range(0, last + 1, 10 if last > 100 else 1), last}):
                rows.append([role, epoch, *(
                    float(run.metrics[m].values[epoch]) if m in run.metrics else ""
                    for m in metrics)])
        write(folder / f"{name}.csv", ["run", "epoch", *metrics], rows)
    for run in runs("dfc_fig1d").values():
        at = run["control"].isel(epoch=-1, sample=0, unit=0)
        time = np.asarray(at["u"].coords["time"])
        rows = [[float(time[k]), *(float(at[m].values[k]) for m in ("r_output", "target", "u"))]
                for k in range(0, len(time), 2)]
        write(folder / "dfc_fig1d.csv", ["time (tau_u)", "r_output", "target", "u"], rows)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/results"))
