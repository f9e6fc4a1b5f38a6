"""A grid on a Dask cluster: what is missing is sent out, what comes back is counted."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, as_completed
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker
from tqdm.auto import tqdm

from dfc_neuro.errors import DfcNeuroError, DiskError, InputError
from dfc_neuro.processes import started_apart
from dfc_neuro.rates import threads
from dfc_neuro.sweep._grid import Point
from dfc_neuro.sweep._work import TOPIC, Task, work

Outcome = dict[Path, tuple[str, str]]
DEATHS = 10  # workers that may die on one run before it is given up
SETTINGS = {"distributed.scheduler.allowed-failures": DEATHS,
            "distributed.comm.timeouts.connect": "10s", "distributed.comm.retry.count": 0,
            # Dask has freed memory given back at once; fresh pages for every array halve the speed
            "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}


def run_all(grid: Sequence[Point], protocol: str | Path, quick: bool, scheduler: str | None,
            workers: int | None, progress: bool) -> Outcome:
    """Run every point that has no result yet; return what became of each, by its path.

    Raises
    ------
    InputError
        If the scheduler cannot be reached.
    DiskError
        If a worker finds the disk full; the other runs are given up then.
    DfcNeuroError
        If the scheduler is lost on the way.
    """
    outcome: Outcome = {p.path: ("found", "") for p in grid if p.path.exists()}
    missing = [point for point in grid if point.path not in outcome]
    if not missing:
        return outcome
    name = str(Path(protocol).absolute()) if Path(protocol).is_file() else str(protocol)
    with _interrupted_once(), dask.config.set(SETTINGS), \
            _client(scheduler, workers, len(missing)) as client, \
            _Bar(len(grid), len(outcome), progress) as bar:
        client.wait_for_workers(1)
        client.subscribe_topic(TOPIC, bar.told)
        sharing = dict(Counter(client.run(socket.gethostname).values()))
        futures = {
            client.submit(work, Task(name, p.keys, p.seed, quick, str(p.path), sharing),
                          key=f"{p.path.stem}-{client.id}", pure=False): p for p in missing}
        for future in as_completed(futures, loop=client.loop):
            path = futures[future].path
            outcome[path] = _result(future, scheduler)
            if outcome[path][0] == "full":
                raise DiskError(str(path), outcome[path][1])
            bar.ended(str(path))
    return outcome


def _result(future: Any, scheduler: str | None) -> tuple[str, str]:
    try:
        return future.result()
    except KilledWorker:
        return "failed", f"its worker died {DEATHS} times; there may be too little memory"
    except (FutureCancelledError, OSError) as error:
        raise DfcNeuroError(
            f"{scheduler or 'the local cluster'}: the scheduler is gone; finished runs are kept, "
            "and the same command goes on") from error


@contextmanager
def _client(scheduler: str | None, workers: int | None, most: int) -> Iterator[Client]:
    """Connect to a scheduler, or to a cluster of our own that ends with us."""
    if scheduler is None:
        count = min(most, workers or threads.available())
        with _local_cluster(count) as cluster, Client(cluster, set_as_default=False) as client:
            yield client
        return
    try:
        client = Client(scheduler, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError("--scheduler", f"'{scheduler}' does not answer ({error})",
                         "give the address of a running one, tcp://HOST:PORT") from None
    with client:
        yield client


@contextmanager
def _local_cluster(workers: int) -> Iterator[LocalCluster]:
    """Start a cluster of processes that Ctrl-C does not reach, and end it."""
    start = partial(
        LocalCluster, n_workers=workers, threads_per_worker=1, processes=True, memory_limit=0,
        host="127.0.0.1", silence_logs=logging.ERROR, dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"})  # of its status, any free port
    with started_apart(start, LocalCluster.close) as cluster:
        try:
            yield cluster
        except BaseException:
            cluster.sync(_end_soon, cluster)
            raise


async def _end_soon(cluster: LocalCluster) -> None:
    """End the workers; the runs that they are at may be cut off."""
    await asyncio.gather(*(nanny.close(timeout=1) for nanny in cluster.workers.values()))


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """Let the first Ctrl-C through, and none while all is put away after it."""
    def first(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() \
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Bar:
    """Progress over the grid, the parts of unfinished runs included, and what is left of it."""

    def __init__(self, total: int, found: int, shown: bool):
        self._bar = tqdm(total=total, initial=found, disable=not shown, unit="run",
                         desc="sweep", smoothing=0, bar_format="{l_bar}{bar}| {n:.1f}/{total} runs "
                         "[{elapsed}, about {remaining} left]")
        self._found, self._ended, self._parts = found, 0, dict[str, float]()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def told(self, event: Any) -> None:
        """Take in what a worker says of its run: (path, part done)."""
        path, part = event[1]
        self._parts[path] = part
        self._move()

    def ended(self, path: str) -> None:
        """Count a run that has ended."""
        self._parts.pop(path, None)
        self._ended += 1
        self._move()

    def _move(self) -> None:
        done = self._found + self._ended + sum(list(self._parts.values()))
        self._bar.n = min(done, self._bar.total)
        self._bar.refresh()
