"""What a worker does: one run, on its share of the threads of its machine."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfc_neuro.errors import BusyError, DfcNeuroError, DiskError

TOPIC = "dfc-neuro-sweep"
PATIENCE = 60.0  # seconds for which a run waits for the end of the process that writes it
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Task:
    """One run, as it is sent to a worker; `sharing` is how many workers each machine has."""

    protocol: str
    keys: dict[str, Any]
    seed: int
    quick: bool
    out: str
    sharing: dict[str, int]


def work(task: Task) -> tuple[str, str]:
    """Run a task whose result is not there yet; return status and message.

    A run that goes wrong is reported, not raised: the others of the grid go on.  The status is
    "full" where the disk refuses what is written, as it will refuse that of the others.
    """
    from dfc_neuro.rates import threads
    from dfc_neuro.run import run

    share = max(1, threads.available() // task.sharing.get(socket.gethostname(), 1))
    until = time.monotonic() + PATIENCE
    with _one_at_a_time, threads.use(share):
        while not Path(task.out).exists():
            try:
                run(task.protocol, out=task.out, seed=task.seed, keys=task.keys, quick=task.quick,
                    resume=True, progress=_teller(task.out))
            except BusyError as error:
                if time.monotonic() > until:
                    return "failed", str(error)
                time.sleep(0.5)
            except DiskError as error:
                return "full", error.found
            except DfcNeuroError as error:
                return "failed", str(error)
            except Exception:  # a mistake of ours must not take the grid with it
                return "failed", traceback.format_exc()
            else:
                return "done", ""
    return "found", ""


def _teller(out: str) -> Any:
    """Return a function that tells the sweep how far this run is, about once a second."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # called outside a worker
        return False
    told = [0.0]

    def tell(done: int, total: int) -> None:
        if time.monotonic() - told[0] > 1.0:
            told[0] = time.monotonic()
            worker.log_event(TOPIC, (out, done / max(1, total)))

    return tell
