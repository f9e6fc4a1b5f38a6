"""The largest memory of one row: ``python -m dfc_neuro.bench._peak``, a process of its own.

It reads a case and a row as JSON from stdin, runs the row, and prints what it found.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dfc_neuro.bench._case import Case, Row
from dfc_neuro.errors import DfcNeuroError

CALLS = 3


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # not getrusage: there a child begins with the memory of its parent
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return float(lines["VmHWM"].split()[0]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_own_process(case: Case, row: Row | None) -> dict[str, Any]:
    """Return peak_mib, and the seconds and update_error of a row that is run only once.

    Without a row nothing runs: the memory is that of the interpreter and the libraries.
    """
    asked = {"case": case.table(), "row": asdict(row) if row else None}
    done = subprocess.run([sys.executable, "-m", "dfc_neuro.bench._peak"], input=json.dumps(asked),
                          capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DfcNeuroError(f"bench: {row.method if row else 'an empty process'} failed in a "
                            f"process of its own: {last}")
    return json.loads(done.stdout)


def main() -> None:
    """Run what stdin asks for."""
    from dfc_neuro.bench._work import error, exact, limits, work

    asked = json.load(sys.stdin)
    case = Case.of(asked["case"])
    if asked["row"] is None:
        print(json.dumps({"peak_mib": peak_mib()}))
        return
    row = Row(**asked["row"])
    found: dict[str, Any] = {}
    with limits(case, row):
        if row.method == "torch_dfc":
            work(replace(case, control=replace(case.control, steps=3)), row).step()
            job = work(case, row)
            start = time.perf_counter()
            update = job.update()
            found["seconds"] = time.perf_counter() - start
            found["peak_mib"] = peak_mib()
            found["update_error"] = error(update, exact(case, row))
        else:
            job = work(case, row)
            for _ in range(CALLS):
                job.step()
            found["peak_mib"] = peak_mib()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
