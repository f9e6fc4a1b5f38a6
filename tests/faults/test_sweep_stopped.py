"""Grids that Ctrl-C or a full disk ends: one message, finished runs are kept, the rest goes on."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dfc_neuro.errors import DiskError
from dfc_neuro.sweep import sweep

LARGE = {"schedule.epochs": 1, "schedule.before": {}, "schedule.epoch": ["control"],
         "record": {"v": {"what": ["v_soma", "v_apical", "v_basal"], "of": "hidden", "samples": 1}}}


def starting(process, folder):
    with contextlib.suppress(psutil.NoSuchProcess):  # of a child that has ended meanwhile
        return any("spawn_main" in " ".join(child.cmdline())
                   for child in psutil.Process(process.pid).children())
    return False


def half_done(process, folder):
    return bool(list(folder.glob("results/*.h5")))


def interrupted(words, folder, when):
    """Run a command and press Ctrl-C: a terminal sends SIGINT to every process of it.

    Returns what stands before its last line, a progress bar, and that line.
    """
    process = subprocess.Popen([Path(sys.executable).with_name("dfc-neuro"), *words], cwd=folder,
                               start_new_session=True, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    until = time.monotonic() + 100
    while not when(process, folder) and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=100)
    assert process.returncode == 130 and out == "", said
    until = time.monotonic() + 20  # Python's own helpers end a moment after what they help
    while (left := [p for p in psutil.process_iter() if _of(p, process.pid)]) \
            and time.monotonic() < until:
        time.sleep(0.05)
    assert not left
    bar, _, message = said.strip().rpartition("\n")
    return [line for line in bar.replace("\r", "\n").split("\n") if line.strip()], message


@pytest.mark.parametrize("when", [starting, half_done])
def test_ctrl_c_ends_in_one_line(when, data, tmp_path):
    bar, message = interrupted(["sweep", data / "tiny.toml", "--set", "method=bp", "--seeds", "150",
                                "--workers", "1"], tmp_path, when)
    kept = len(list(tmp_path.glob("results/*.h5")))
    assert message == (f"dfc-neuro: stopped: {kept} of 150 runs are finished and kept, and the "
                       "same command goes on")
    assert all(line.strip().startswith("sweep:") for line in bar)


def begun(process, folder):
    return bool(list(folder.glob("results/compare/runs/*.partial")))


@pytest.mark.parametrize("when", [starting, begun])
def test_ctrl_c_ends_a_comparison(when, tmp_path):
    """And not only after the runs that were begun, or all."""
    bar, message = interrupted(["compare", "hebb", "--quick", "--workers", "2"], tmp_path, when)
    assert message == "dfc-neuro: stopped"
    assert bar[0] == "4 runs in 2 processes" and all("/4 [" in line for line in bar[1:]), bar


def _of(process, session):
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        return process.status() != "zombie" and os.getsid(process.pid) == session
    return False


@contextlib.contextmanager
def largest_file(size):
    """Let this process and those it starts write no file beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_grid_in_one_message(data, tmp_path):
    def grid():
        return sweep(data / "tiny.toml", over={"record.v.samples": [1, 250]}, seeds=2, keys=LARGE,
                     workers=1, directory=tmp_path, progress=False)

    with largest_file(2_000_000), pytest.raises(DiskError) as error:
        grid()
    assert error.value.where.startswith(str(tmp_path / "tiny-"))
    assert error.value.found == "cannot be written (File too large)"
    assert error.value.remedy == ("free some space there, or permit writing; 2 of 4 runs are "
                                  "finished and kept, and the same command goes on")
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.h5")}
    assert len(kept) == 2
    done = grid()
    assert [run.status for run in done.runs] == ["found", "found", "done", "done"]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(tmp_path.glob("*.partial"))
