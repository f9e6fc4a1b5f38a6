"""Time every method and integrator on this machine, beside its own rate of matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from dfc_neuro.bench import _torch
from dfc_neuro.bench._case import Case, Row, control, operations, steps
from dfc_neuro.bench._peak import in_own_process
from dfc_neuro.bench._work import Work, error, exact, is_reference, limits, solution, work
from dfc_neuro.rates import threads

__all__ = ["Case", "Measured", "Row", "Table", "bench", "control", "gemm_seconds", "operations",
           "rows", "steps", "work"]

PRODUCTS = 5  # matrix products of each kind; the best counts
SLICE = 0.25  # seconds that a quick row is repeated in each round
PAUSE = 0.1  # seconds after each row, in which the threads of its libraries stop spinning


@dataclass(frozen=True)
class Measured:
    """A row with its numbers; rates are per second, None where there is no count.

    ``error`` is the relative error of the update; ``reference`` says that the row is what others
    are held against; ``gave_way`` that the closed form was refused for time steps.
    """

    row: Row
    steps: int
    seconds: float
    gflops: float | None
    fraction: float | None
    error: float
    peak_mib: float | None
    reference: bool = False
    gave_way: bool = False


@dataclass
class Table:
    """All that was measured; ``gemm`` maps (dtype, threads) to GFLOP/s.

    ``euler_error`` is the relative error of the update by Euler's steps against the exact solution.
    """

    case: Case
    gemm: dict[tuple[str, int], float]
    rows: list[Measured]
    empty_mib: float | None
    notes: list[str] = field(default_factory=list)
    euler_error: float | None = None

    def find(self, method: str, **properties) -> Measured | None:
        """Return the row of a method with these properties, on all threads if not said."""
        wanted = {"threads": max(n for _, n in self.gemm), "dtype": "float32", "fused": False,
                  **properties}
        for measured in self.rows:
            row = measured.row
            if row.method == method and all(getattr(row, k) == v for k, v in wanted.items()):
                return measured
        return None


def rows(*, quick: bool = False) -> list[Row]:
    """Return the rows of this machine: all threads and one, both precisions.

    In small, those in float32 on all threads, without the plain PyTorch loop.
    """
    most = threads.available()
    one = [1] if most > 1 and not quick else []
    kinds = [("dfc", "euler", "none"), ("dfc", "fast", "none"), ("dfc", "averaged", "none"),
             ("dfc_ss", "euler", "none"), ("dfc_ssa", "none", "none"),
             ("feedback", "euler", "noisy"), ("feedback", "averaged", "noisy"),
             ("feedback", "none", "expected"),
             ("bp", "none", "none"), ("dfa", "none", "none")]
    with_torch = _torch.installed()
    if with_torch:
        kinds.append(("torch_bp", "none", "none"))
    found = []
    for method, integrator, feedback in kinds:
        for dtype in ("float32",) if quick else ("float32", "float64"):
            single = one if dtype == "float32" and method != "dfa" else []
            for n in [most, *single]:
                found.append(Row(method, n, integrator, feedback, dtype))
    if with_torch:
        found.append(Row("torch_bp", most, fused=True))
        if not quick and _torch.plain_loop():
            found.append(Row("torch_dfc", most, "euler", dtype="float64"))
    return found


def gemm_seconds(n: int, dtype: str, products: int = 1) -> Callable[[], float]:
    """Return a function that times NumPy products of two n x n matrices and returns the best."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, n)).astype(dtype) for _ in range(2))
    out = np.empty_like(a)

    def best() -> float:
        found = []
        for _ in range(products):
            start = time.perf_counter()
            np.matmul(a, b, out=out)
            found.append(time.perf_counter() - start)
        return min(found)

    return best


def _repeat(job: Work, seconds: float) -> float:
    """Return the shortest time of a step, repeated for so long and at least once."""
    best, end = np.inf, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        job.step()
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return best


def bench(case: Case | None = None, wanted: list[Row] | None = None, *, quick: bool = False,
          peaks: bool = True, tell: Callable[[str], object] = lambda _: None) -> Table:
    """Measure rows in rounds, each with matrix products of every precision and thread count.

    Parameters
    ----------
    case : Case, optional
        The published MNIST network if not given.
    wanted : list of Row, optional
        Those of :func:`rows` if not given.
    quick : bool
        Fewer rows and rounds.
    peaks : bool
        Measure the memory of each row, in a process of its own.
    tell : callable
        Takes a word on what is being measured.

    Returns
    -------
    Table
    """
    case = case or Case()
    wanted = rows(quick=quick) if wanted is None else wanted
    here = [row for row in wanted if row.method != "torch_dfc"]
    jobs: dict[Row, Work] = {}
    errors: dict[Row, float] = {}
    for row in here:
        tell(f"compiling, checking the update: {row.method}")
        jobs[row] = work(case, row)
        with limits(case, row):  # this call is the warm-up, too
            errors[row] = 0.0 if is_reference(row) else error(
                jobs[row].update(), exact(case, row))
            jobs[row].step()
    kinds = sorted({(row.dtype, row.threads) for row in wanted}, key=lambda k: (k[0], -k[1]))
    rounds = 2 if quick else PRODUCTS
    products = {k: gemm_seconds(case.gemm, k[0], -(-PRODUCTS // rounds)) for k in kinds}
    gemm = dict.fromkeys(kinds, np.inf)
    seconds = dict.fromkeys(here, np.inf)
    for count in range(rounds):
        for kind in kinds:
            tell(f"round {count + 1} of {rounds}: {kind[0]}, threads {kind[1]}")
            with threads.blas(kind[1]):
                gemm[kind] = min(gemm[kind], products[kind]())
            time.sleep(PAUSE)
            for row in here:
                if (row.dtype, row.threads) == kind:
                    with limits(case, row):
                        seconds[row] = min(seconds[row], _repeat(jobs[row], SLICE))
                    time.sleep(PAUSE)
    euler_error = None
    fast = next((row for row in here if row.integrator == "fast"), None)
    if fast is not None:
        tell("the exact solution")
        with limits(case, fast):
            euler = exact(case, replace(fast, integrator="euler"))
            euler_error = error(euler, solution(case, fast.threads))
    gave_way = {row: jobs[row].gave_way() for row in here}
    jobs.clear()

    memory: dict[Row, float | None] = dict.fromkeys(wanted)
    for row in wanted:
        if peaks or row.method == "torch_dfc":
            tell(f"memory: {row.method} in a process of its own")
            alone = in_own_process(case, row)
            memory[row] = alone["peak_mib"]
            if row.method == "torch_dfc":
                seconds[row], errors[row] = alone["seconds"], alone["update_error"]
    rate = {kind: 2e-9 * case.gemm**3 / t for kind, t in gemm.items()}

    found = []
    for row in wanted:
        work_ = operations(case, row)
        gflops = None if work_ is None else 1e-9 * work_ / seconds[row]
        found.append(Measured(
            row, steps(case, row), seconds[row], gflops,
            None if gflops is None else gflops / rate[row.dtype, row.threads],
            errors[row], memory[row], is_reference(row), gave_way.get(row, False)))
    empty = in_own_process(case, None)["peak_mib"] if peaks else None
    return Table(case, rate, found, empty, _notes(case, found, quick), euler_error)


def _notes(case: Case, found: list[Measured], quick: bool) -> list[str]:
    notes = []
    if any(m.gave_way for m in found):
        notes.append("the closed form of DFC was refused on this minibatch: its rows took time "
                     "steps")
    if case.images is None:
        notes.append("inputs are uniform random numbers: Fashion-MNIST is not here or does not fit")
    if not _torch.installed():
        notes.append("PyTorch is not installed: no rows torch_bp and torch_dfc")
    elif _torch.plain_loop() is None:
        notes.append("no row torch_dfc: benchmarks/torch_dfc.py comes with a checkout only")
    elif quick:
        notes.append("no row torch_dfc with --quick")
    return notes
