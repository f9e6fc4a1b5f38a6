"""Print what float32, fast stepping and the closed form do to learning, paired over seeds.

``python benchmarks/harmless.py [FOLDER] [--seed N]... [--arm NAME]...``: 6,400 images of
Fashion-MNIST, 784-64-64-64-10, ten epochs, with the published constants of DFC with learned
feedback weights (protocol table1, column fmnist; T = 6 tau_u).  Runs that lie in FOLDER (results)
are not repeated, and stopped ones go on; the tables are printed once all runs are there.

The reference are Euler steps in float64.  Shown are the differences of the test error from it, of
runs with the same seed, with the 95 % interval of their mean (Student's t); and the errors of one
update, relative, of the initial network and of the trained one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

import dfc_neuro as dn
from dfc_neuro.files import resolve
from dfc_neuro.learning.planning import make_plan
from dfc_neuro.learning.trainer import Trainer

SEEDS = range(5)
COMMON = {
    "column": "fmnist", "method": "dfc", "feedback": "learned", "layers": [784, 64, 64, 64, 10],
    "data.subset": 6400, "data.validation": 0, "schedule.before.feedback": 5,
    "schedule.epochs": 10, "numerics.threads": 1,
}
STEP = "phases.control.numerics.integrator"
ARMS = {
    "euler64": {STEP: "euler", "numerics.precision": "float64"},
    "euler32": {STEP: "euler"},
    "fast32": {STEP: "fast", "numerics.dt": 0.06, "phases.control.steps": 101},  # a third of them
    "averaged32": {STEP: "averaged"},
}
REFERENCE = "euler64"


def path_of(folder: Path, arm: str, seed: int) -> Path:
    """Return where a run lies."""
    return folder / f"harmless-{arm}-{seed}.h5"


def update(arm: str, weights: dn.Result | None) -> np.ndarray:
    """Return the update of 128 test samples by an arm, of the initial or of given weights."""
    plan = make_plan(resolve.protocol("table1", COMMON | ARMS[arm]), 0)
    trainer = Trainer(plan)
    if weights is not None:
        for name in ("W", "b", "Q"):
            for i, part in enumerate(getattr(trainer.net, name), 1):
                part[...] = weights.weights[f"{name}{i}"].values
    batch, _ = trainer.minibatch(plan.control_phase(), plan.dataset.test.part(slice(128)), 0)
    return plan.method.update(batch).update.flat().astype(np.float64)


def errors(folder: Path) -> dict[str, list[float]]:
    """Return the relative errors of each arm's update: initial network, trained network."""
    found: dict[str, list[float]] = {arm: [] for arm in ARMS if arm != REFERENCE}
    for weights in (None, dn.Result(path_of(folder, REFERENCE, 0))):
        exact = update(REFERENCE, weights)
        for arm in found:
            off = np.linalg.norm(update(arm, weights) - exact)
            found[arm].append(float(off / np.linalg.norm(exact)))
    return found


def show(folder: Path) -> None:
    """Print both tables."""
    test = {arm: {seed: 100 * float(dn.Result(path_of(folder, arm, seed))
                                    .measures["test_error"].values) for seed in SEEDS}
            for arm in ARMS}
    off = errors(folder)
    print("| runs | test error of seeds 0 to 4, % | mean difference, points | 95 % interval | "
          "update error, initial | trained |")
    print("|---|---|---|---|---|---|")
    for arm, values in test.items():
        shown = " ".join(f"{v:.2f}" for v in values.values())
        row = "- | - | - | -"
        if arm != REFERENCE:
            d = np.array([values[seed] - test[REFERENCE][seed] for seed in SEEDS])
            half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
            row = f"{d.mean():+.3f} | {d.mean() - half:+.3f} to {d.mean() + half:+.3f} | " \
                f"{off[arm][0]:.1e} | {off[arm][1]:.1e}"
        print(f"| {arm} | {shown} | {row} |")


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("results"))
    parser.add_argument("--seed", type=int, action="append", choices=SEEDS)
    parser.add_argument("--arm", action="append", choices=ARMS)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for arm in chosen.arm or ARMS:
        for seed in chosen.seed or SEEDS:
            path = path_of(chosen.folder, arm, seed)
            if not path.exists():
                dn.run("table1", out=path, seed=seed, keys=COMMON | ARMS[arm], resume=True,
                       progress=False)
    if all(path_of(chosen.folder, arm, seed).exists() for arm in ARMS for seed in SEEDS):
        show(chosen.folder)


if __name__ == "__main__":
    main()
