"""Print the tables of spiking cells of docs/results.md: five seeds, means with 95 % intervals.

Run it in the folder where results should lie: ``python benchmarks/spiking_table.py``; runs that are
there already are not repeated.  A second argument names the rows to run, "all" for all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import stats

import dfc_neuro as dn

SEEDS = range(5)
SIGMOID = {"phi(x)": "1/(1 + exp(-x))", "dphi(x)": "(1/(1 + exp(-x)))*(1 - 1/(1 + exp(-x)))"}
RATES = {  # the same experiment on the rate network that the cells are near to
    "on": "dfc_layered",
    "numerics": {"engine": "rates", "precision": "float64"},
    "populations.hidden.functions": SIGMOID, "populations.output.functions": SIGMOID,
    "phases.control": {"duration": 8, "learn": "W", "controllers.control.k_p": 0,
                       "controllers.control.alpha": 0.05, "cells.tau_v": 0.06},
    "phases.feedback": {"duration": 10, "learn": "Q", "target": "own_output", "noise": 1.0,
                        "cells.tau_A": 2.0},
    "keep_unconverged": True, "record": {"epochs": {"what": ["loss", "error"]}}}
FIXED = {"feedback": "fixed", "schedule.epochs": 6}  # enough: J^T drives the hidden layer less
REGRESSION = {
    "fixed Q": FIXED,
    "learned Q": {},
    "hidden layer frozen": FIXED | {"projections.W1.rule": "none"},
    "sign of the rule flipped": FIXED | {"rules.eta": "-2 Hz"},
    "rate network, fixed Q": RATES | FIXED,
    "rate network, learned Q": RATES | {"feedback": "learned"},
    "rate network, hidden layer frozen": RATES | FIXED | {"projections.W1.rule": "none"},
}
DIGITS = {"0 against 1": [0, 1], "3 against 8": [3, 8]}


def result(folder: Path, protocol: str, name: str, seed: int, keys: dict):
    """Return a result, run if it is not there."""
    path = folder / f"{protocol}-{name.replace(' ', '_')}-{seed}.h5"
    if path.exists():
        return dn.Result(path)
    return dn.run(protocol, out=path, seed=seed, keys=keys, progress=False, resume=True)


def shown(values: list[float], digits: int = 1) -> str:
    """Return the mean and the 95 % interval of the mean."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.{digits}f} ± {half:.{digits}f}"


def main(folder: Path, rows: str) -> None:
    """Run what is missing and print the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    print("| | loss from spikes, % of initial | in the rate network, % | angle of Q to J^T, before "
          "and after, degrees |\n|---|---|---|---|", flush=True)
    for name, keys in REGRESSION.items():
        if rows not in ("all", name):
            continue
        spikes, rates, before, after = [], [], [], []
        for seed in SEEDS:
            metrics = result(folder, "spiking_regression", name, seed, keys).metrics
            own = metrics["test_loss"].values
            there = metrics["test_loss_of_rates"].values if "test_loss_of_rates" in metrics else own
            spikes.append(100 * own[-1] / own[0])
            rates.append(100 * there[-1] / there[0])
            if name == "learned Q":
                before.append(metrics["angle_q_jt"].values[0])
                after.append(metrics["angle_q_jt"].values[-1])
        angles = f"{shown(before)}, {shown(after)} (largest {max(after):.1f})" if after else "-"
        read = "-" if own is there else f"{shown(spikes)} ({min(spikes):.1f} to {max(spikes):.1f})"
        print(f"| {name} | {read} | {shown(rates)} ({min(rates):.1f} to {max(rates):.1f}) | "
              f"{angles} |", flush=True)
    print("\n| digits | accuracy from spikes, % |\n|---|---|", flush=True)
    for name, classes in DIGITS.items():
        if rows not in ("all", name):
            continue
        found = [result(folder, "spiking_digits", name, seed, {"data.classes": classes})
                 for seed in SEEDS]
        accuracy = [100 * (1 - r.metrics["test_error"].values[-1]) for r in found]
        print(f"| {name} | {shown(accuracy)} ({min(accuracy):.1f} to {max(accuracy):.1f}) |",
              flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"),
         sys.argv[2] if len(sys.argv) > 2 else "all")
