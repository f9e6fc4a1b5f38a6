"""Print what a start costs: imports, compiled kernels from the cache, and the command's help.

``python benchmarks/import_time.py [--cold]``: every time is that of a new process, the shortest of
some; with ``--cold`` also that of a first run, which compiles into an empty cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

REPEATS = 5
# What `dfc-neuro run quickstart --quick` does up to the end of its first minibatches.
START = """
import json, time
start = time.perf_counter()
from dfc_neuro.files.resolve import protocol
from dfc_neuro.learning.planning import make_plan
from dfc_neuro.learning.trainer import Trainer
imported = time.perf_counter()
plan = make_plan(protocol("quickstart", {}, quick=True), 0)
planned = time.perf_counter()
from dataclasses import replace
from dfc_neuro.datasets._dataset import Split
train = plan.dataset.train
one = Split(train.x[:plan.batch], train.y[:plan.batch])
passes = tuple({one.phase.learn: one for one in plan.passes}.values())
trainer = Trainer(replace(plan, dataset=replace(plan.dataset, train=one), passes=2 * passes))
taken = []
for _ in range(2):
    begin = time.perf_counter()
    for one in passes:
        trainer.run(one)
    taken.append(time.perf_counter() - begin)
print(json.dumps({"imports": imported - start, "plan": planned - imported,
                  "kernels": taken[0] - taken[1], "minibatches": taken[1]}))
"""


def run(words: list[str], **environment: str) -> tuple[float, str]:
    """Return the seconds of a process and what it printed."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True,
                          env={**os.environ, **environment})
    return time.perf_counter() - start, done.stdout


def shown(found: tuple[float, str]) -> str:
    """Return the parts of a start as text."""
    parts = json.loads(found[1])
    return (f"{found[0]:.2f} s in all; imports {parts['imports']:.2f}, plan and data "
            f"{parts['plan']:.2f}, kernels {parts['kernels']:.2f}, two minibatches "
            f"{parts['minibatches']:.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cold", action="store_true", help="compile into an empty cache, too")
    if parser.parse_args().cold:
        with tempfile.TemporaryDirectory() as folder:
            first = run(["-c", START], DFC_NEURO_CACHE=folder)
        print(f"start of the quickstart, nothing compiled: {shown(first)}", flush=True)
    run(["-c", START])
    print("start of the quickstart, compiled before: "
          + shown(min(run(["-c", START]) for _ in range(REPEATS))), flush=True)
    bare = min(run(["-c", "pass"])[0] for _ in range(REPEATS))
    for name, words in {"dfc-neuro --help": ["-m", "dfc_neuro", "--help"],
                        "import dfc_neuro": ["-c", "import dfc_neuro"]}.items():
        taken = min(run(words)[0] for _ in range(REPEATS))
        print(f"{name}: {taken:.2f} s, of which an empty Python {bare:.2f} s")


if __name__ == "__main__":
    main()
