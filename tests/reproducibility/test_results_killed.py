"""A run killed at any moment resumes to the numbers of one that was not."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import h5py
import numpy as np
import pytest

from dfc_neuro.errors import ResultsError
from dfc_neuro.results import Writer, remove_debris

RUN = """
    import sys
    import numpy as np
    from dfc_neuro.results import Writer

    header = {"protocol": "epochs = 12", "model": "", "seed": 1}
    with Writer(sys.argv[1], header, resume=True) as writer:
        state = writer.state or {"epoch": 0, "w": np.zeros((40, 30))}
        w = state["w"]
        print("ready", flush=True)
        for epoch in range(state["epoch"], 12):
            rng = np.random.default_rng([1, epoch])
            w = w + rng.normal(size=w.shape)
            writer.extend("metrics/loss", [w.sum()], ["epoch"], scales={"epoch": [epoch]})
            for _ in range(2):
                writer.extend(
                    "recordings/v/soma", rng.normal(size=(20, 8)), ["time", "unit"], units="1",
                    scales={"time": (np.arange(20.0), "s"), "unit": np.arange(8)})
            if epoch == 11:
                sys.stdin.readline()  # a run that is to be killed does not come past this line
            writer.put("weights/W1", w, ["post", "pre"])
            writer.checkpoint({"epoch": epoch + 1, "w": w})
        writer.put("measures/total", w.sum())
"""


def _contents(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()].tobytes() + str(item.dtype).encode()})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def _run(path, kill_after=None):
    """Run to the end, or until it is killed; return how long it took and its exit status."""
    command = [sys.executable, "-c", textwrap.dedent(RUN), str(path)]
    stdin = subprocess.DEVNULL if kill_after is None else subprocess.PIPE
    with subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        began = time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
        status = process.wait()
        return time.monotonic() - began, status


def test_killed_at_many_moments(tmp_path):
    whole, killed = tmp_path / "whole.h5", tmp_path / "killed.h5"
    duration, status = _run(whole)
    assert status == 0
    for part in (0.1, 0.3, 0.02, 0.25, 0.15, 0.2, 0.35):
        assert _run(killed, part * duration)[1] == -signal.SIGKILL
    assert _run(killed)[1] == 0
    assert _contents(killed) == _contents(whole)


def test_interrupted_at_each_step_of_the_disk(tmp_path, monkeypatch):
    """Stop before each rename and each removal of a file: the resumed file is the same."""
    header = {"protocol": "", "model": "", "seed": 1}

    class Killed(BaseException):
        pass

    def run(path, stop=None):
        calls = 0

        def counted(function):
            def call(*args, **kwargs):
                nonlocal calls
                calls += 1
                if calls == stop:
                    raise Killed
                return function(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            patch.setattr("os.replace", counted(os.replace))
            patch.setattr("pathlib.Path.unlink", counted(type(path).unlink))
            patch.setattr("shutil.rmtree", counted(shutil.rmtree))
            writer = Writer(path, header, resume=True)
            try:
                for epoch in range((writer.state or {"epoch": 0})["epoch"], 3):
                    writer.extend("metrics/x", [epoch + 0.5], ["epoch"], scales={"epoch": [epoch]})
                    writer.put("weights/w", np.full(3, epoch), ["unit"])
                    writer.checkpoint({"epoch": epoch + 1})
                writer.finish()
            except Killed:
                for handle in (*writer._files.values(), writer._lock):  # as the system does
                    handle.close()
                raise
        return calls

    steps = run(tmp_path / "whole.h5")
    assert steps > 12
    for stop in range(3, steps + 1):
        path = tmp_path / f"{stop}.h5"
        try:
            run(path, stop)
        except Killed:
            if not path.exists():
                run(path)
            elif path.with_name(path.name + ".partial").exists():
                with pytest.raises(ResultsError, match="is finished, there is nothing to resume"):
                    run(path)
        assert _contents(path) == _contents(tmp_path / "whole.h5"), stop
        assert not path.with_name(path.name + ".partial").exists()


def test_debris_goes_and_an_unfinished_run_stays(tmp_path):
    """A run begun with --force beside a finished file is no debris, whether it goes on or not."""
    path, partial = tmp_path / "a.h5", tmp_path / "a.h5.partial"
    header = {"protocol": "", "model": "", "seed": 1}
    Writer(path, header).finish()
    partial.mkdir()
    remove_debris(path)
    assert not partial.exists()
    writer = Writer(path, header, force=True)
    remove_debris(path)
    assert partial.exists()
    writer.checkpoint({"epoch": 1})
    writer._lock.close()  # as the system does for a process that was killed
    remove_debris(path)
    assert Writer(path, header, force=True, resume=True).state == {"epoch": 1}
