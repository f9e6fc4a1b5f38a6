"""Grids: their points, what a worker does with one, the index, and the command."""

import csv
import shutil
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest
from click.testing import CliRunner

import dfc_neuro as dn
from dfc_neuro.cli import main
from dfc_neuro.errors import BusyError, InputError, NumericalError
from dfc_neuro.rates import threads
from dfc_neuro.run import result_path
from dfc_neuro.sweep import _work
from dfc_neuro.sweep._grid import parse_over, points

SHORT = {"schedule.epochs": 1, "schedule.before": {}, "schedule.epoch": ["control"],
         "record": {"epochs": {"what": ["loss"]}}}


def grid(data, folder, over, seeds=1, keys=None):
    return points(data / "tiny.toml", over, seeds, {**SHORT, **(keys or {})}, False, folder)


@pytest.mark.parametrize(("text", "wanted"), [
    ("method=dfc, bp", ("method", ["dfc", "bp"])),
    ("a.b=1,2.5,true", ("a.b", [1, 2.5, True])),
    ("a=[[1, 2], [3]]", ("a", [[1, 2], [3]])),
    ('a=["x,y", "z"]', ("a", ["x,y", "z"])),
    ("a=1,1.0", ("a", [1, 1.0])),
])
def test_what_a_grid_goes_over(text, wanted):
    assert parse_over(text) == wanted


@pytest.mark.parametrize("text", ["method", "method=", "=a", "method=bp,,dfc", "method=[]",
                                  "method=bp,dfc,bp", "a=[1"])
def test_what_no_grid_goes_over(text):
    with pytest.raises(InputError, match=r"^--over"):
        parse_over(text)


def test_points_are_named_by_what_they_compute(data, tmp_path):
    found = grid(data, tmp_path, {"method": ["bp", "dfc"], "data.batch": [33, 99]}, 2)
    assert [(p.label, p.seed) for p in found[:3]] == [
        ("method=bp, batch=33", 0), ("method=bp, batch=33", 1), ("method=bp, batch=99", 0)]
    assert len({p.path for p in found}) == 8
    one = found[-1]
    assert one.path.name == result_path(data / "tiny.toml", seed=one.seed, keys=one.keys).name
    assert one.title == "method=dfc, batch=99, seed 1"


def test_the_name_of_a_run_does_not_hang_on_prose(data, tmp_path):
    other = tmp_path / "tiny.toml"
    text = (data / "tiny.toml").read_text()
    other.write_text(text.replace("A few passes", "Some passes") + "\n# a comment\n")
    assert result_path(other) == result_path(data / "tiny.toml")
    other.write_text(text.replace("batch = 64", "batch = 65"))
    assert result_path(other) != result_path(data / "tiny.toml")


def test_the_name_of_a_run_does_not_hang_on_how_it_is_said(data):
    tiny = data / "tiny.toml"
    assert result_path(tiny, keys={"feedback": "learned", "as_published": False}) \
        == result_path(tiny) == result_path(tiny, keys={"numerics.dt": 0.05, "schedule.epochs": 3})
    assert result_path(tiny, keys={"feedback": "fixed"}) != result_path(tiny)
    written_out = {"numerics.target": "auto"}
    assert result_path("escape_step") == result_path("escape_step", keys=written_out)


def test_feedback_is_not_varied_where_it_is_not_learned(data, tmp_path):
    found = grid(data, tmp_path, {"method": ["bp", "dfa", "dfc"], "feedback": ["learned", "fixed"]})
    assert [p.label for p in found] == ["method=bp", "method=dfa", "method=dfc, feedback=learned",
                                        "method=dfc, feedback=fixed"]


@pytest.mark.parametrize(("over", "seeds", "message"), [
    ({"methd": ["bp"]}, 1, "unknown key 'methd'"),
    ({"method": ["bp", "dfx"]}, 1, "unknown method 'dfx'"),
    ({"method": "bp"}, 1, "give a list of values"),
    ({"schedule.epochs": [1]}, 1, "is given to --set as well"),
    ({"method": ["bp"]}, 0, "from 1 to 100,000"),
    ({"data.batch": list(range(1, 2000))}, 1000, "from 1 to 100,000"),
])
def test_mistakes_are_found_before_any_run(data, tmp_path, over, seeds, message):
    with pytest.raises(InputError, match=message):
        grid(data, tmp_path, over, seeds)


def task(data, out, **keys):
    return _work.Task(str(data / "tiny.toml"), {**SHORT, "method": "bp", **keys}, 3, False,
                      str(out), {})


def test_a_worker_runs_what_is_missing(data, tmp_path):
    out = tmp_path / "x.h5"
    assert _work.work(task(data, out)) == ("done", "")
    assert dn.Result(out).attrs["seed"] == 3
    assert _work.work(task(data, out)) == ("found", "")


def test_a_run_that_fails_is_reported(data, tmp_path):
    status, message = _work.work(task(data, tmp_path / "x.h5",
                                      **{"optimisers.W": {"name": "sgd", "lr": 1e9}}))
    assert status == "failed" and "has left the bound 1000" in message
    status, message = _work.work(task(data, tmp_path / "x.h5", **{"data.test": 1797}))
    assert status == "failed" and "data" in message
    assert list(tmp_path.iterdir()) == []


def test_a_run_waits_for_the_process_that_writes_it(data, tmp_path, monkeypatch):
    tried = []

    def run(*_, out, **__):
        tried.append(out)
        if len(tried) < 3:
            raise BusyError(out, "is being written by another process")
        raise NumericalError("enough")

    monkeypatch.setattr(import_module("dfc_neuro.run"), "run", run)
    assert _work.work(task(data, tmp_path / "x.h5")) == ("failed", "enough")
    assert len(tried) == 3


@pytest.mark.parametrize(("workers", "share"), [(1, 4), (2, 2), (3, 1), (9, 1)])
def test_a_worker_takes_its_share_of_the_threads(data, tmp_path, monkeypatch, workers, share):
    seen = []

    def run(*_, **__):
        seen.append(threads.available())
        raise NumericalError("enough")

    monkeypatch.setattr(import_module("dfc_neuro.run"), "run", run)
    monkeypatch.setattr(_work.socket, "gethostname", lambda: "here")
    with threads.use(4):
        _work.work(_work.Task("x", {}, 0, False, str(tmp_path / "x.h5"), {"here": workers}))
    assert seen == [share]


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """Return a small finished grid, and its folder."""
    folder = tmp_path_factory.mktemp("grid")
    for point in grid(data, folder, {"method": ["bp", "dfa"]}, 3):
        dn.run(data / "tiny.toml", out=point.path, seed=point.seed, keys=point.keys,
               progress=False)
    return folder


def test_the_index_is_rebuilt_by_scanning(data, done):
    (done / "damaged.h5").write_bytes(b"no HDF5")
    shutil.copy(data / "dfc_reference_thin.h5", done / "other.h5")
    swept = dn.sweep(data / "tiny.toml", over={"method": ["bp", "dfa"]}, seeds=3, keys=SHORT,
                     directory=done, progress=False)
    assert {run.status for run in swept.runs} == {"found"} and swept.failed == []
    with open(swept.index, newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(rows[0]) == ["file", "method", "seed", "test_error", "test_loss"]
    assert {(row["method"], row["seed"]) for row in rows} == {
        (m, s) for m in ("bp", "dfa") for s in "012"}
    for row in rows:
        result = dn.Result(done / row["file"])
        assert float(row["test_error"]) == result.measures["test_error"].values
    assert len(swept.results()) == 6


def test_a_summary_compares_pairs_of_seeds(data, done):
    swept = dn.sweep(data / "tiny.toml", over={"method": ["bp", "dfa"]}, seeds=3, keys=SHORT,
                     directory=done, progress=False)
    values = swept.values("test_error")
    bp, dfa = ([values[f"method={m}"][s] for s in range(3)] for m in ("bp", "dfa"))
    lines = swept.summary()
    assert lines[0] == "test error"
    assert "minus method=bp, paired" in lines[1]
    assert f"{np.mean(bp):.4g} [" in lines[2]
    assert f"{np.mean(np.subtract(dfa, bp)):.4g} [" in lines[3]


def call(*words):
    found = CliRunner().invoke(main, ["sweep", *words])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.stdout, found.stderr


@pytest.mark.parametrize(("words", "message"), [
    (["quickstrt"], "did you mean 'quickstart'?"),
    (["quickstart", "--over", "method"], "write --over KEY=V1,V2"),
    (["quickstart", "--over", "method=bp", "--over", "method=dfc"], "method: is given twice"),
    (["quickstart", "--over", "method=bp,dfx"], "unknown method 'dfx'"),
    (["quickstart", "--scheduler", "x", "--workers", "2"], "is for a cluster on this machine"),
    (["quickstart", "--seeds", "0"], "0 is not in the range"),
    (["quickstart", "--scheduler", "nonsense://"], "--scheduler: 'nonsense://' does not answer"),
])
def test_mistakes_are_one_message_and_status_2(words, message, workdir):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert message in err and len(err.splitlines()) == 1
    assert list(workdir.iterdir()) == []


def test_without_the_extra_the_message_names_it(monkeypatch, workdir):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = call("quickstart")
    assert code == 2
    assert err == ("dfc-neuro: sweep: needs the packages of the extra 'cluster', which are not "
                   "installed; pip install 'dfc-neuro[cluster]'\n")


@pytest.mark.parametrize(("system", "asked"), [
    ("slurm", ["#SBATCH --cpus-per-task=4", "#SBATCH --mem=8G", "#SBATCH -t 04:00:00"]),
    ("pbs", ["#PBS -l select=1:ncpus=4:mem=8gb", "#PBS -l walltime=04:00:00"]),
])
def test_the_script_for_clusters_asks_for_jobs(repository, system, asked):
    spec = spec_from_file_location("cluster", repository / "docs" / "cluster.py")
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    with script.make(system) as cluster:
        job = cluster.job_script()
        assert cluster.scheduler_address.startswith("tcp://")
    for line in asked:
        assert line in job
    worker = job.splitlines()[-1]
    assert "--nthreads 1" in worker and worker.rindex("--nthreads 1") == worker.rindex("--nthreads")
