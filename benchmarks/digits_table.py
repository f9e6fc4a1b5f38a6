"""Print the quickstart table of docs/results.md: methods and feedback weights over five seeds.

Run it in the folder where results should lie: ``python benchmarks/digits_table.py``; runs that are
there already are not repeated.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import dfc_neuro as dn

SEEDS = range(5)
ROWS = {
    "DFC, Q learned": {"method": "dfc"},
    "DFC, Q fixed": {"method": "dfc", "feedback": "fixed"},
    "DFC, Q random": {"method": "dfc", "feedback": "random"},
    "DFC-SS, Q learned": {"method": "dfc_ss"},
    "DFC-SSA, Q learned": {"method": "dfc_ssa"},
    "DFC-SSA, Q fixed": {"method": "dfc_ssa", "feedback": "fixed"},
    "DFA": {"method": "dfa"},
    "BP": {"method": "bp"},
}


def shown(values: list[float]) -> str:
    """Return mean and standard deviation in per cent."""
    return f"{100 * np.mean(values):.2f} ({100 * np.std(values, ddof=1):.2f})"


def main(folder: Path) -> None:
    """Run what is missing and print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    print("| method | test error after 5 epochs, % | after 30 epochs, % | condition 2 after "
          "pre-training | angle to GN, degrees | angle to BP, degrees |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, keys in ROWS.items():
        early, late, before, gn, bp = [], [], [], [], []
        for seed in SEEDS:
            path = folder / f"digits-{'-'.join(keys.values())}-{seed}.h5"
            if path.exists():
                result = dn.Result(path)
            else:
                result = dn.run("quickstart", out=path, seed=seed, keys=keys, progress=False)
            error = result.metrics["test_error"].values
            early.append(error[5])
            late.append(error[-1])
            if "condition_2_before" in result.measures:
                before.append(float(result.measures["condition_2_before"].values))
            gn.append(result.metrics["angle_gn"].values[-1])
            bp.append(result.metrics["angle_bp"].values[-1])
        condition = f"{np.mean(before):.3f}" if before else "-"
        print(f"| {name} | {shown(early)} | {shown(late)} | {condition} | {np.mean(gn):.1f} | "
              f"{np.mean(bp):.1f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
