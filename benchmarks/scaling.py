"""Print how the time stepping of DFC grows with batch, T, threads and the size of the network.

``python benchmarks/scaling.py [--quick] [--figure FILE]``: exponents fitted to times against the
batch and against T (1 is linear), time on one thread over that on all, and the part of the
machine's matrix-product rate that the published network and a deep, wide one reach.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from dfc_neuro.bench import Case, Row, gemm_seconds, operations, work
from dfc_neuro.bench._work import limits
from dfc_neuro.rates import threads

MOST = threads.available()
EULER = Row("dfc", MOST, "euler")
NOISY = Row("feedback", MOST, "euler", "noisy")
REPEATS = 5


def case(batch: int = 128, T: int = 1000, sizes: tuple[int, ...] = Case.sizes) -> Case:
    """Return the published case with another batch, number of states and network."""
    own = Case()
    return replace(own, sizes=sizes, batch=batch, control=replace(own.control, steps=T))


def seconds(jobs: dict) -> dict:
    """Return the shortest time of each job, a mapping of names to (case, row), in turns."""
    ready = {name: work(*job) for name, job in jobs.items()}
    best = dict.fromkeys(jobs, np.inf)
    for count in range(REPEATS + 1):
        for name, job in jobs.items():
            with limits(*job):
                start = time.perf_counter()
                ready[name].step()
                taken = time.perf_counter() - start
            if count:  # the first is the warm-up
                best[name] = min(best[name], taken)
    return best


def exponent(times: dict[int, float]) -> float:
    """Return p of the fit time = c size^p."""
    return float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0])


def draw(path: str, curves: dict[str, dict[int, float]]) -> None:
    """Draw time against size, with a line of slope 1 through the largest."""
    from importlib.resources import files

    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(str(files("dfc_neuro.figures") / "style.mplstyle")):
        fig = Figure(figsize=(3.35, 1.7))
        for ax, (name, times) in zip(fig.subplots(1, len(curves)), curves.items(), strict=True):
            size, value = np.array(list(times)), 1e3 * np.array(list(times.values()))
            ax.loglog(size, value[-1] * size / size[-1], color="#888888", linestyle="--",
                      label="linear")
            ax.loglog(size, value, marker="o", label="measured")
            ax.set_xticks(size, [str(n) for n in size])
            ax.set_yticks([m * 10.0**k for k in range(-2, 5) for m in (1, 2, 5)
                           if 0.8 * value[0] <= m * 10.0**k <= 1.2 * value[-1]])
            ax.yaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
            ax.set_xlabel(name)
            ax.set_title(f"exponent {exponent(times):.2f}")
            ax.legend()
        fig.axes[0].set_ylabel("Time per minibatch (ms)")
        fig.savefig(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--figure", metavar="FILE", help="draw the two curves")
    asked = parser.parse_args()
    T = 100 if asked.quick else 1000

    curves = {}
    for name, jobs in {
        "Batch": {B: (case(B, T // 4), EULER) for B in (64, 128, 256, 512)},
        "T": {n: (case(128, n), EULER) for n in (T // 8, T // 4, T // 2, T)},
    }.items():
        curves[name] = seconds(jobs)
        print(f"DFC, Euler, float32, against {name}: exponent {exponent(curves[name]):.3f}  ("
              + ", ".join(f"{n}: {1e3 * t:.1f} ms" for n, t in curves[name].items()) + ")",
              flush=True)

    for name, row in {"DFC, Euler": EULER, "noisy feedback": NOISY}.items():
        jobs = {n: (case(128, T // 2), replace(row, threads=n)) for n in {1, MOST}}
        found = seconds(jobs)
        print(f"{name}, float32, batch 128: one thread / {MOST}: {found[1] / found[MOST]:.2f}",
              flush=True)

    deep = (784, *[512] * 10, 10)
    jobs = {"784-256x3-10": (case(128, T // 4), EULER),
            "784-512x10-10": (case(128, T // 10, deep), EULER)}
    product = gemm_seconds(2048, "float32", 5)
    with threads.blas(MOST):
        taken = product()
    time.sleep(0.1)  # in which the threads of the BLAS stop spinning
    found = seconds(jobs)
    with threads.blas(MOST):
        taken = min(taken, product())
    for name, best in found.items():
        rate = operations(*jobs[name]) / best
        print(f"{name}: {1e-9 * rate:.1f} GFLOP/s, {rate * taken / (2 * 2048**3):.0%} of a "
              f"2048 x 2048 product on the same threads", flush=True)
    if asked.figure:
        draw(asked.figure, curves)


if __name__ == "__main__":
    main()
