"""Print how many times faster than a plain PyTorch loop the closed form of the time average is.

``python benchmarks/closed_form.py``, with PyTorch installed: the published network and minibatch
with the constants of MNIST (T 1000) and of Fashion-MNIST (T 300), side by side in one run: the
loop in float64, as the authors' code runs, between repeats of the closed form in float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from step_errors import CASE, SETTINGS

from dfc_neuro.bench._case import Case, Row
from dfc_neuro.bench._torch import loop
from dfc_neuro.bench._work import limits, work
from dfc_neuro.rates import threads

ROUNDS, REPEATS = 3, 60


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Return the shortest of some repeats."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def beside(theirs: Callable[[], object], ours: Callable[[], object], case: Case, row: Row
           ) -> tuple[float, float]:
    """Return the shortest times of both, in turns; `theirs` is PyTorch's."""
    ours()
    times = []
    for _ in range(ROUNDS):
        slow = seconds(theirs)
        time.sleep(0.3)  # so that no thread of PyTorch still spins
        with limits(case, row):
            times.append((slow, seconds(ours, REPEATS)))
    slow, fast = (min(column) for column in zip(*times, strict=True))
    return slow, fast


def main() -> None:
    """Measure and print."""
    row = Row("dfc", threads.available(), "averaged")
    for name, (nudge, control) in SETTINGS.items():
        case = replace(CASE, nudge=nudge, control=control)
        closed = work(case, row)
        slow, fast = beside(loop(case).step, closed.step, case, row)
        print(f"{name}, T {control.steps}: PyTorch loop {slow:.3g} s, closed form "
              f"{1e3 * fast:.3g} ms: {slow / fast:.0f} times"
              + (", which gave way to steps" if closed.gave_way() else ""), flush=True)


if __name__ == "__main__":
    main()
