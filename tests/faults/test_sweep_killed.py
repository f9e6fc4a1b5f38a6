"""Grids that lose a worker or their scheduler half-way end as the same grid run one by one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import psutil
import pytest

from dfc_neuro.errors import DfcNeuroError, InputError
from dfc_neuro.run import run
from dfc_neuro.sweep import _cluster, sweep

OVER = {"method": ["bp", "dfc_ssa"], "data.batch": [99, 297]}
SEEDS = 10
SHORT = {"schedule.epochs": 2, "schedule.before": {}, "schedule.epoch": ["control"],
         "phases.control.duration": 1, "record": {"epochs": {"what": ["loss"]}}}


def contents(path):
    """Return all numbers of a result file, by name."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]})
                        if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.fixture(scope="module")
def serial(data, tmp_path_factory):
    """Return the numbers of the grid run one by one in this process, by (keys, seed)."""
    folder, found = tmp_path_factory.mktemp("serial"), {}
    for method in OVER["method"]:
        for batch in OVER["data.batch"]:
            for seed in range(SEEDS):
                path = folder / f"{method}-{batch}-{seed}.h5"
                run(data / "tiny.toml", out=path, seed=seed, progress=False,
                    keys={**SHORT, "method": method, "data.batch": batch})
                found[method, batch, seed] = contents(path)
    return found


def check(done, serial):
    assert len(done.runs) == len(serial) == 40 and not done.failed
    assert sorted(p.name for p in done.index.parent.iterdir()) == sorted(
        [done.index.name, *{run.point.path.name for run in done.runs}])
    for one in done.runs:
        keys = one.point.keys
        wanted = serial[keys["method"], keys["data.batch"], one.point.seed]
        found = contents(one.point.path)
        assert set(found) == set(wanted)
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def is_worker(process):
    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
        return "spawn_main" in " ".join(process.cmdline())
    return False


def when_half_are_done(folder, act):
    """Call `act` in another thread once half of the runs have ended; return the thread."""
    def watch():
        until = time.monotonic() + 100
        while len(list(folder.glob("*.h5"))) < 20 and time.monotonic() < until:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_worker_killed_half_way_loses_nothing(data, serial, tmp_path):
    killed = []

    def kill():
        workers = [p for p in psutil.Process().children() if is_worker(p)]
        killed.append(len(list(tmp_path.glob("*.h5"))))
        os.kill(workers[0].pid, signal.SIGKILL)

    thread = when_half_are_done(tmp_path, kill)
    done = sweep(data / "tiny.toml", over=OVER, seeds=SEEDS, keys=SHORT, workers=2,
                 directory=tmp_path, progress=False)
    thread.join()
    assert 20 <= killed[0] < 40
    check(done, serial)
    assert {run.status for run in done.runs} <= {"done", "found"}
    one = done.runs[0].point.path  # as if killed between the renaming of a file and its last act
    one.with_name(one.name + ".partial").mkdir()
    again = sweep(data / "tiny.toml", over=OVER, seeds=SEEDS, keys=SHORT, directory=tmp_path,
                  progress=False)
    assert {run.status for run in again.runs} == {"found"}
    check(again, serial)


@contextlib.contextmanager
def cluster(folder, name):
    """Start a scheduler and a worker as processes of their own; yield address and scheduler."""
    file = folder / f"{name}.json"
    tools = [sys.executable, "-W", "ignore", "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    scheduler = subprocess.Popen(
        [*tools, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard", "--scheduler-file", str(file)], **quiet)
    worker = subprocess.Popen(
        [*tools, "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1",
         "--no-dashboard", "--memory-limit", "0"], **quiet)
    try:
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.05)
        yield str(file), scheduler
    finally:
        for process in (worker, scheduler):
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()


def test_a_scheduler_killed_half_way_and_started_anew(data, serial, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()

    def grid(file):
        with open(file) as text:
            address = json.load(text)["address"]
        return sweep(data / "tiny.toml", over=OVER, seeds=SEEDS, keys=SHORT, scheduler=address,
                     directory=folder, progress=False)

    with cluster(tmp_path, "first") as (file, scheduler):
        thread = when_half_are_done(folder, scheduler.kill)
        with pytest.raises(DfcNeuroError, match="the scheduler is gone; finished runs are kept"):
            grid(file)
        thread.join()
    kept = {p: p.stat().st_mtime_ns for p in folder.glob("*.h5")}
    assert 20 <= len(kept) < 40
    with cluster(tmp_path, "second") as (file, _):
        done = grid(file)
    check(done, serial)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_a_scheduler_that_does_not_answer(data, tmp_path, monkeypatch):
    monkeypatch.setitem(_cluster.SETTINGS, "distributed.comm.timeouts.connect", "1s")
    with pytest.raises(InputError, match=r"--scheduler: 'tcp://127\.0\.0\.1:1' does not answer"):
        sweep(data / "tiny.toml", scheduler="tcp://127.0.0.1:1", directory=tmp_path,
              progress=False)
