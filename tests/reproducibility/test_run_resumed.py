"""A training run killed at any moment resumes to the numbers of one that was not."""

import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from dfc_neuro.errors import ResultsError
from dfc_neuro.learning import training
from dfc_neuro.learning.trainer import Trainer
from dfc_neuro.run import run

# `dfc-neuro run` with a checkpoint after every pass over the data, which does not end before its
# input does: a run that is to be killed is not over before it is killed
COMMAND = """
import sys
from dfc_neuro.cli import main
from dfc_neuro.learning import training
from dfc_neuro.results import Writer

finish = Writer.finish

def finish_when_told(*args, **kwargs):
    sys.stdin.read()
    return finish(*args, **kwargs)

training.CHECKPOINT_EVERY = 0.0
Writer.finish = finish_when_told
main(["run", *sys.argv[1:]])
"""


def contents(path):
    """Every dataset of a result file, to the bit."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update(
            {name: (item.shape, str(item.dtype), item[()].tobytes())})
            if isinstance(item, h5py.Dataset) else None)
    return found


def assert_same_numbers(path, other):
    one, two = contents(path), contents(other)
    assert one.keys() == two.keys()
    assert len(one) > 20
    for name, value in two.items():
        assert one[name] == value, name


def commits(path):
    folder = path.with_name(path.name + ".partial")
    return max((int(p.name.partition(".")[0]) for p in folder.glob("*.state.h5")), default=-1)


def cli(protocol, path, kill_at=None):
    """Run or resume to the end, or until so many checkpoints exist; return the exit status."""
    command = [sys.executable, "-c", COMMAND, str(protocol), "-o", str(path), "--seed", "3"]
    partial = path.with_name(path.name + ".partial")
    with subprocess.Popen([*command, "--resume"] if partial.exists() else command,
                          stdin=subprocess.DEVNULL if kill_at is None else subprocess.PIPE,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while kill_at is not None and process.poll() is None:
            if partial.exists() and commits(path) >= kill_at:
                process.kill()
                break
            time.sleep(1e-3)
        error = process.stderr.read().decode()
        status = process.wait()
    assert status in (0, -signal.SIGKILL), error
    return status


def test_killed_at_five_moments(data, tmp_path):
    """Killed as it starts, between passes before and in the epochs, and near the end."""
    whole, killed = tmp_path / "whole.h5", tmp_path / "killed.h5"
    run(data / "tiny.toml", out=whole, seed=3, progress=False)
    reached = []
    for moment in (-1, 1, 4, 8, 11):
        assert cli(data / "tiny.toml", killed, moment) == -signal.SIGKILL
        assert not killed.exists()
        reached.append(commits(killed))
    assert reached == sorted(reached) and reached[-1] >= 11
    assert cli(data / "tiny.toml", killed) == 0
    assert_same_numbers(killed, whole)
    assert not killed.with_name("killed.h5.partial").exists()


@pytest.mark.parametrize(("keys", "every", "passes"), [
    ({"schedule.epochs": 2}, 0.0, 8),
    ({"method": "bp", "optimisers.W": {"name": "momentum", "lr": 0.1}}, 0.0, 3),
    ({"method": "bp"}, 1e9, 3)], ids=["dfc", "momentum", "no checkpoint"])
def test_stopped_after_each_pass(data, tmp_path, monkeypatch, keys, every, passes):
    """Stop after every pass in turn, the one before it saved or none, and resume from there."""
    class Stopped(BaseException):
        pass

    keys = {"record.epochs.what": ["loss", "error"], "phases.control.duration": 0.5, **keys}
    whole = tmp_path / "whole.h5"
    run(data / "tiny.toml", out=whole, keys=keys, progress=False)
    once = Trainer.run
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", every)
    for stop in range(1, passes + 1):
        def stopping(self, one, stop=stop):
            once(self, one)
            if self.done == stop:
                raise Stopped

        path = tmp_path / f"{stop}.h5"
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "run", stopping)
            with pytest.raises(Stopped):
                run(data / "tiny.toml", out=path, keys=keys, progress=False)
        run(data / "tiny.toml", out=path, keys=keys, progress=False, resume=True)
        assert_same_numbers(path, whole)


def test_another_seed_or_protocol_is_not_resumed(data, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0.0)

    def broken(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_final", broken)
        with pytest.raises(KeyboardInterrupt, match="with --resume goes on"):
            run(data / "tiny.toml", out=path, keys={"method": "bp"}, progress=False)
    before = {p.name: p.read_bytes() for p in path.with_name("run.h5.partial").glob("*.h5")}
    for change in ({"seed": 1, "keys": {"method": "bp"}},
                   {"keys": {"method": "bp", "optimisers.W.lr": 1e-3}}):
        with pytest.raises(ResultsError, match=r"resume|--force"):
            run(data / "tiny.toml", out=path, progress=False, resume=True, **change)
    with pytest.raises(ResultsError, match=r"--resume"):
        run(data / "tiny.toml", out=path, keys={"method": "bp"}, progress=False)
    assert {p.name: p.read_bytes()
            for p in path.with_name("run.h5.partial").glob("*.h5")} == before
    result = run(data / "tiny.toml", out=path, keys={"method": "bp"}, progress=False, resume=True)
    assert np.isfinite(result.measures["test_error"].values)


def test_a_finished_result_is_not_overwritten(data, tmp_path):
    path = tmp_path / "run.h5"
    keys = {"method": "bp", "schedule.epochs": 1}
    run(data / "tiny.toml", out=path, keys=keys, progress=False)
    before = path.read_bytes()
    with pytest.raises(ResultsError, match="--force"):
        run(data / "tiny.toml", out=path, keys=keys, seed=1, progress=False)
    assert path.read_bytes() == before
    run(data / "tiny.toml", out=path, keys=keys, seed=1, progress=False, force=True)
    assert path.read_bytes() != before
