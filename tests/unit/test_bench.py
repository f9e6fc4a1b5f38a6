"""The benchmark: its counts, its table and its JSON file on a tiny case; times are not tested."""

import json
import sys
from dataclasses import replace
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import dfc_neuro.bench as benchmark
from dfc_neuro import figure
from dfc_neuro.bench import Case, Measured, Row, Table, bench, control, operations, steps
from dfc_neuro.bench._peak import in_own_process
from dfc_neuro.bench._report import as_json, lines, ratios, write
from dfc_neuro.cli import main
from dfc_neuro.errors import DfcNeuroError, ResultsError
from dfc_neuro.rates.losses import LOSSES
from dfc_neuro.verify import error, read_case

DEFAULT = Case()
TINY = Case(sizes=(6, 8, 7, 4), batch=5, nudge=1e-3, gemm=16,
            control=replace(DEFAULT.control, steps=31),
            feedback=replace(DEFAULT.feedback, steps=12))
WITHOUT_TORCH = {("dfc", "euler", "none"), ("dfc", "fast", "none"), ("dfc", "averaged", "none"),
                 ("dfc_ss", "euler", "none"), ("dfc_ssa", "none", "none"),
                 ("feedback", "euler", "noisy"), ("feedback", "averaged", "noisy"),
                 ("feedback", "none", "expected"),
                 ("bp", "none", "none"), ("dfa", "none", "none")}
FIELDS = ["method", "threads", "integrator", "feedback", "dtype", "sizes", "batch", "steps",
          "seconds", "gflops", "fraction_of_gemm", "update_error", "peak_mib"]


def kind(row):
    return row.method, row.integrator, row.feedback


@pytest.fixture(scope="module")
def table():
    """Return the table of a tiny case, without memory, each row run as often as it must."""
    wanted = [row for row in benchmark.rows() if not row.torch]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "SLICE", 0.0)
        patch.setattr(benchmark, "PAUSE", 0.0)
        return bench(TINY, wanted, peaks=False)


def made_up(*rows, threads=2):
    """Return a table of given rows, seconds and errors."""
    measured = [Measured(row, 10, seconds, None, None, 1e-7, 100.0) for row, seconds in rows]
    return Table(TINY, {("float32", threads): 100.0, ("float32", 1): 60.0}, measured, 50.0)


def test_default_case_is_the_published_one():
    c = DEFAULT.control
    assert (DEFAULT.sizes, DEFAULT.batch, c.dt, c.steps) == ((784, 256, 256, 256, 10), 128, 0.02,
                                                             1000)
    net, x, y = DEFAULT.draw()
    assert x.shape == (128, 784) and y.shape == (128,) and x.min() >= 0 and x.max() <= 1
    assert np.array_equal(net.Q[-1], np.eye(10))
    assert net.W[1].std() == pytest.approx(np.sqrt(2 / 512), rel=0.02)
    # 2 B (T-1) [2 sum_{i>=2} n_i n_{i-1} + n_L sum n_i], written out
    whole = 2 * 128 * 999 * (2 * (256 * 256 + 256 * 256 + 256 * 10) + 10 * (3 * 256 + 10))
    assert operations(DEFAULT, Row("dfc", 2, "euler")) == whole
    assert whole == pytest.approx(70.3e9, rel=1e-3)


def test_counts_of_operations():
    """Net 3-5-4-2, B = 1: forward 15 + 20 + 8 = 43, without layer 1 28, all Q u 10 + 8 + 4 = 22."""
    case = Case(sizes=(3, 5, 4, 2), batch=1, control=replace(DEFAULT.control, steps=2),
                feedback=replace(DEFAULT.feedback, steps=3))
    expected = {
        ("dfc", "euler", "none"): 28 + 28 + 22,
        ("dfc_ss", "euler", "none"): 28 + 22,
        ("feedback", "euler", "noisy"): 2 * (28 + 22 + 22),
        ("bp", "none", "none"): 43 + 43 + 28,
        ("dfa", "none", "none"): 43 + 43 + 18,
        # forward, update, sweep, Q u, J_1 = J_2 W_2 (2 x 4 by 4 x 5), J_i Q_i of the hidden layers
        ("dfc_ssa", "none", "none"): 43 + 43 + 28 + 22 + 40 + (20 + 16),
        ("torch_bp", "none", "none"): 43 + 43 + 28,
    }
    for (method, integrator, feedback), count in expected.items():
        row = Row(method, 1, integrator, feedback)
        assert operations(case, row) == 2 * count, row
    assert operations(case, Row("dfc", 1, "averaged")) is None
    assert operations(case, Row("feedback", 1, "none", "expected")) is None
    assert operations(case, Row("feedback", 1, "averaged", "noisy")) is None
    loop = Row("torch_dfc", 1, "euler", dtype="float64")
    assert operations(case, loop) == 2 * expected["dfc", "euler", "none"]


def test_fast_takes_fewer_steps_over_the_same_time():
    euler, fast = (control(DEFAULT, Row("dfc", 1, name)) for name in ("euler", "fast"))
    assert (euler.steps, fast.steps) == (1000, 200)
    assert fast.dt * fast.steps == pytest.approx(euler.dt * euler.steps, rel=1e-15)
    assert steps(DEFAULT, Row("bp", 1)) == 0
    assert steps(DEFAULT, Row("feedback", 1, "euler", "noisy")) == 48


def test_every_method_has_its_rows():
    here = benchmark.rows()
    assert {kind(row) for row in here if not row.torch} == WITHOUT_TORCH
    for dtype in ("float32", "float64"):
        assert {kind(row) for row in here if row.dtype == dtype} >= WITHOUT_TORCH
    quick = benchmark.rows(quick=True)
    assert {row.dtype for row in quick} == {"float32"} and set(quick) < set(here)
    assert "torch_dfc" not in {row.method for row in quick}
    with_torch = find_spec("torch") is not None
    assert ({"torch_bp", "torch_dfc"} <= {row.method for row in here}) == with_torch


def test_updates_are_right(table):
    found = {(kind(m.row), m.row.dtype, m.row.threads): m for m in table.rows}
    assert {k for k, _, _ in found} == WITHOUT_TORCH
    for (name, dtype, _), m in found.items():
        assert m.seconds > 0 and np.isfinite(m.error)
        assert m.reference == (dtype == "float64" and name[1] not in ("fast", "averaged")
                               and name[2] != "expected")
        if name[1] == "fast":
            assert 0 < m.error < 1.3 * table.euler_error
        elif name == ("feedback", "averaged", "noisy"):
            assert 1e-6 < m.error < 5e-3  # first order of a noise of 0.0015
        elif name[2] == "expected" or name[1] == "averaged":
            assert m.error < 2e-4
        else:
            assert m.error < (1e-5 if dtype == "float32" else 1e-15), m.row
        if m.gflops is not None:
            rate = table.gemm[dtype, m.row.threads]
            assert m.gflops == pytest.approx(1e-9 * operations(TINY, m.row) / m.seconds)
            assert m.fraction == pytest.approx(m.gflops / rate)


def test_json_file(table, workdir):
    write(table, workdir / "bench.json")
    assert [p.name for p in workdir.iterdir()] == ["bench.json"]
    found = json.loads((workdir / "bench.json").read_text())
    assert list(found) == ["gemm_gflops", "rows"]
    assert set(found["gemm_gflops"]) == {"float32", "float64"}
    assert min(found["gemm_gflops"].values()) > 0
    assert len(found["rows"]) == len(table.rows)
    for row in found["rows"]:
        assert list(row) == FIELDS
        assert (row["sizes"], row["batch"]) == ([6, 8, 7, 4], 5)
        states = {"euler": 31, "fast": 6, "averaged": 31, "none": 0}[row["integrator"]]
        assert row["steps"] == (12 if row["method"] == "feedback" else states)
        assert row["peak_mib"] is None
        assert (row["gflops"] is None) == (row["fraction_of_gemm"] is None)


def test_fused_adam_is_printed_and_not_in_the_file():
    found = made_up((Row("torch_bp", 2), 2e-3), (Row("torch_bp", 2, fused=True), 1e-3))
    assert [row["seconds"] for row in as_json(found)["rows"]] == [2e-3]
    assert "torch_bp + fused Adam" in "\n".join(lines(found))


def test_printed_table_and_ratios():
    found = made_up((Row("dfc", 2, "euler"), 0.5), (Row("dfc", 1, "euler"), 0.9),
                    (Row("dfc_ssa", 2), 0.0044), (Row("torch_bp", 2), 0.002),
                    (Row("torch_dfc", 2, "euler", dtype="float64"), 9.0))
    assert ratios(found) == pytest.approx({
        "plain PyTorch loop (float64) / DFC by Euler steps": 18,
        "DFC-SSA with Adam / PyTorch backprop, default Adam": 2.2,
        "one thread / all, DFC by Euler steps": 1.8})
    said = lines(found)
    assert "product of 16 x 16 matrices, float32, threads 2: 100 GFLOP/s" in said
    assert "a process that has only loaded the libraries: 50 MiB" in said
    (row,) = (line for line in said if line.startswith("| dfc_ssa + Adam"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["dfc_ssa + Adam", "", "", "float32", "2", "10", "4.40", "1136", "", "",
                     "1.0e-07", "100"]
    assert len({len(line) for line in said if line.startswith("|")}) == 1
    assert "  one thread / all, DFC by Euler steps: 1.80" in said


def test_no_ratio_of_a_row_with_itself():
    assert ratios(made_up((Row("dfc", 1, "euler"), 0.9), threads=1)) == {}


def test_notes_say_what_is_not_there(monkeypatch, table):
    assert any(note.startswith("inputs are uniform random") for note in table.notes)
    monkeypatch.setattr(benchmark._torch, "installed", lambda: False)
    assert "PyTorch is not installed: no rows torch_bp and torch_dfc" in benchmark._notes(
        TINY, [], False)
    monkeypatch.setattr(benchmark._torch, "installed", lambda: True)
    monkeypatch.setattr(benchmark._torch, "plain_loop", lambda: None)
    assert "no row torch_dfc: benchmarks/torch_dfc.py comes with a checkout only" in \
        benchmark._notes(TINY, [], False)
    gave_way = replace(table.rows[0], gave_way=True)
    assert benchmark._notes(TINY, [gave_way], False)[0].startswith("the closed form of DFC was ref")


def test_case_survives_the_way_to_another_process():
    assert Case.of(json.loads(json.dumps(TINY.table()))) == TINY


def test_memory_of_a_process_of_its_own():
    empty, bp = (in_own_process(TINY, row)["peak_mib"] for row in (None, Row("bp", 1)))
    assert 20 < empty <= bp + 1 < 1000
    with pytest.raises(DfcNeuroError, match=r"bench: nothing failed in .*unknown method 'nothing'"):
        in_own_process(TINY, Row("nothing", 1))


def test_command(monkeypatch, workdir):
    asked = {}

    def measure(**options):
        asked.update(options)
        options["tell"]("memory")
        return made_up((Row("bp", 2), 1e-3))

    monkeypatch.setattr(benchmark, "bench", measure)
    done = CliRunner().invoke(main, ["bench", "--quick", "--json", "bench.json"])
    assert done.exit_code == 0 and asked["quick"] is True
    assert done.stderr == "... memory\n"
    assert "| bp + Adam |" in done.stdout and done.stdout.endswith("table bench.json\n")
    assert json.loads((workdir / "bench.json").read_text())["rows"][0]["method"] == "bp"


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": []}', '{"rows": [{"seconds": 1}]}'])
def test_figure_refuses_another_file(workdir, text):
    (workdir / "results").mkdir()
    (workdir / "results" / "bench.json").write_text(text)
    with pytest.raises(ResultsError, match=r"results.bench\.json: is not a table of dfc-neuro "
                       "bench; make it anew: dfc-neuro bench --json results"):
        figure.draw(["bench"], formats=["png"])


def test_figure_measures_what_is_missing(monkeypatch, workdir, table):
    asked = []
    monkeypatch.setattr(benchmark, "bench", lambda **options: asked.append(options) or table)
    (path,) = figure.draw(["bench"], formats=["png"])
    assert asked == [{"quick": True, "peaks": False}] and path.stat().st_size > 1000


@pytest.mark.parametrize(("file", "message"), [
    ("none/bench.json", "--json: the folder none is not there or cannot be written to; make it"),
    (".", "--json: . is a folder; give the name of a file"),
])
def test_a_file_that_cannot_be_written_is_refused_at_once(monkeypatch, workdir, file, message):
    monkeypatch.setattr(benchmark, "bench", lambda **_: pytest.fail("it was measured"))
    done = CliRunner().invoke(main, ["bench", "--json", file])
    assert done.exit_code == 2 and message in done.stderr


def loop_module(repository):
    pytest.importorskip("torch", reason="PyTorch is not installed; the plain PyTorch loop is only "
                        "compared where it is")
    spec = spec_from_file_location("torch_dfc_tested", repository / "benchmarks" / "torch_dfc.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["classification_pi", "linear_net", "linear_net_unstable",
                                  "regression_instant", "regression_integral_delay",
                                  "regression_pi"])
def test_plain_pytorch_loop_reproduces_the_golden_trajectories(repository, data, name):
    module = loop_module(repository)
    with h5py.File(data / "dfc_reference_thin.h5") as file:
        group = file[name]
        case = read_case(group, name)
        net, r = case.net, group[f"forward/r{case.net.depth}"][()]
        delta = -case.nudge * LOSSES[case.loss](r, case.target)[1]
        path = module.trajectory(net.W, net.b, net.Q, net.nonlinearities, case.x, delta,
                                 case.control)
        stored = group["dynamics"]
        at = stored.attrs.get("time_index", np.arange(case.control.steps))
        off = [error(path.u.numpy()[at], stored["u"][()])]
        for i in range(net.depth):
            off += [error(getattr(path, of)[i].numpy()[at], stored[f"{as_}{i + 1}"][()])
                    for of, as_ in (("v_apical", "v_apical"), ("v_basal", "v_basal"),
                                    ("v_soma", "v_soma"), ("r", "r"))]
        assert max(off) < 1e-10
        if case.loss == "cross_entropy":
            dW, db = module.update(net.W, net.b, net.Q, net.nonlinearities, case.x, case.target,
                                   case.nudge, case.control)
            golden = stored["update_time_average_nonlinear_difference"]
            assert max(error(found, golden[f"{what}{i + 1}"][()])
                       for what, parts in (("dW", dW), ("db", db))
                       for i, found in enumerate(parts)) < 1e-10


def test_pytorch_rows_agree_with_ours(repository):
    loop_module(repository)
    from dfc_neuro.bench._work import error as relative
    from dfc_neuro.bench._work import exact, work

    for row in (Row("torch_bp", 1, dtype="float64"), Row("torch_dfc", 1, "euler", dtype="float64")):
        assert relative(work(TINY, row).update(), exact(TINY, row)) < 1e-10
    for row in (Row("torch_bp", 1), Row("torch_bp", 1, fused=True)):
        job = work(TINY, row)
        before = relative(job.update(), exact(TINY, row))
        job.step()
        assert before < 1e-5 and relative(job.update(), exact(TINY, row)) < 1e-3


def test_page_is_filled_between_its_marks(repository, monkeypatch, tmp_path):
    spec = spec_from_file_location("fill", repository / "benchmarks" / "performance.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (repository / "docs" / "performance.md").read_text(encoding="utf-8")
    for part, (command, _) in module.COMMANDS.items():
        new = module.filled(page, part, r"\1 numbers ")
        assert new.count(r"\1 numbers <!-- end -->") == 1
        assert module.filled(new, part, "again").count("numbers <!-- end") == 0
        program, *words = command.split()
        script = repository / words[0]
        assert script.is_file() if program == "python" else words[0] in main.commands
    with pytest.raises(SystemExit, match=r"has 0 places for 'none'"):
        module.filled(page, "none", "")
    monkeypatch.setattr(module.subprocess, "run", lambda *a, **k: SimpleNamespace(stdout="table\n"))
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module.PAGE.write_text("<!-- settings -->\nold\n<!-- end -->\n")
    module.main(["settings"])
    assert module.PAGE.read_text() == (
        "<!-- settings -->\n```\n$ python benchmarks/settings.py\ntable\n```\n<!-- end -->\n")
