"""Figures of the paper: what their numbers rest on."""

import csv
import io
from importlib import import_module, resources

import numpy as np
import pytest
import tomli_w
from matplotlib import style
from matplotlib.text import Text

from dfc_neuro.errors import ResultsError
from dfc_neuro.figure import draw
from dfc_neuro.files import resolve
from dfc_neuro.results import Result, Writer
from dfc_neuro.run import result_path
from dfc_neuro.table import Table

FIGURES = {
    "dfc_fig1d": {"Output $r_L$", "Controller $u$", r"Time ($\tau_u$)"},
    "dfc_fig2": {"Principal component 1", "$J^T$", "Number of stable Q"},
    "dfc_fig3": {"Condition 2", "Angle to SSA (°)", "DFC-SS (fixed)", "DFA", "Epoch"},
    "dfc_figS1": {"$A_{PI}$", "$r_2$", "condition 1", "GN"},
    "dfc_figS2": {"Condition 2", "linear", "tanh", "0.1", r"Damping $\gamma$"},
    "dfc_figS3": {"Condition 2", "linear", "tanh", "0.001", r"Leak $\alpha$"},
    "dfc_figS4": {"Condition 2", "linear", "tanh", "0.5", "Gain $k_p$"},
    "table1": {"Fashion-MNIST, test error (%)", "MNIST, training loss", "DFC-SSA (fixed)", "BP"},
}
table1 = import_module("dfc_neuro.figures.table1")
fig2 = import_module("dfc_neuro.figures.dfc_fig2")


def written(path, seed, metrics, **keys):
    """Write a result of the protocol table1 with given metrics, epoch 0 first."""
    resolved = resolve.protocol("table1", keys)
    header = {"name": "table1", "kind": "learning", "seed": seed, "model": "",
              "protocol": tomli_w.dumps(resolved.source)}
    with Writer(path, header) as file:
        for name, values in metrics.items():
            file.extend(f"metrics/{name}", values, ("epoch",), "1",
                        {"epoch": np.arange(len(values))})
        file.finish()
    return Result(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return runs of three cells; in the second the best epoch is not the last."""
    folder = tmp_path_factory.mktemp("table")
    found = []
    for seed, test in enumerate([0.110, 0.114, 0.121]):
        found.append(written(folder / f"bp{seed}.h5", seed, {
            "validation_error": [0.0, 0.3, 0.2, 0.25], "test_error": [0.9, 0.5, test, 0.1],
        }, method="bp", column="fmnist"))
    found.append(written(folder / "short.h5", 0, {
        "validation_error": [0.0, 0.3], "test_error": [0.9, 0.5],
    }, method="bp", column="fmnist", **{"schedule.epochs": 1}))
    found.append(written(folder / "auto.h5", 0, {
        "validation_loss": [9.0, 0.2, 0.3], "validation_error": [9.0, 0.4, 0.1],
        "test_loss": [9.0, 0.25, 0.125], "test_error": [9.0, 8.0, 7.0],
    }, method="dfc", column="autoencoder", feedback="fixed", **{"data.images": "fashion_mnist"}))
    for seed, test in ((1, 0.134), (2, 0.141), (7, 0.9)):
        found.append(written(folder / f"dfa{seed}.h5", seed, {
            "validation_error": [0.0, 0.3], "test_error": [0.9, test],
        }, method="dfa", column="fmnist"))
    found.append(written(folder / "train.h5", 0, {
        "train_loss": [np.nan, 0.5, 0.25]}, method="dfa", column="mnist_train"))
    return found


def test_cells_hold_mean_deviation_seeds_and_epochs(runs):
    table = table1.table({"runs": runs})
    rows = {row[0]: list(row[1:]) for row in table.rows}
    mean, sd = np.mean([11.0, 11.4, 12.1]), np.std([11.0, 11.4, 12.1], ddof=1)
    assert rows["BP"] == ["-", f"{mean:.2f} ± {sd:.2f} (3, 100)", "-", "-"]
    assert rows["DFC (fixed)"] == ["-", "-", "0.2500 (1, 25)*", "-"]
    assert rows["DFA"][2:] == ["-", "0.250000 (1, 100)"]
    empty = [name for name, row in rows.items() if row == ["-"] * 4]
    assert empty == ["DFC", "DFC-SSA", "DFC-SS", "DFC-SSA (fixed)", "DFC-SS (fixed)"]
    notes = "\n".join(table.notes)
    assert "* DFC (fixed), autoencoder: runs with data.images = fashion_mnist." in notes
    assert "BP, fmnist: 1 runs of other settings are left out." in notes


def test_the_table_is_drawn_and_written(runs, workdir):
    paths = draw(["table1"], [run.path for run in runs], "out", ["png"])
    assert [p.name for p in paths] == ["table1.png", "table1.md", "table1.tex", "table1.csv"]
    rows = list(csv.DictReader(io.StringIO((workdir / "out/table1.csv").read_text())))
    assert [(r["method"], r["column"], r["seeds"], r["epochs"]) for r in rows] == [
        ("BP", "fmnist", "3", "100"), ("DFC (fixed)", "autoencoder", "1", "25"),
        ("DFA", "fmnist", "3", "100"), ("DFA", "mnist_train", "1", "100")]
    assert float(rows[0]["mean"]) == pytest.approx(11.5)
    assert rows[2]["pairs"] == "2"  # seeds 1 and 2 of both: 13.4 - 11.4 and 14.1 - 12.1
    assert [float(rows[2][f"minus_bp{end}"]) for end in ("", "_low", "_high")] == pytest.approx(
        [2.0, 2.0, 2.0])
    assert r"11.50 $\pm$ 0.56 (3, 100)" in (workdir / "out/table1.tex").read_text()
    assert "| BP | - | 11.50 ± 0.56 (3, 100) | - | - |" in (workdir / "out/table1.md").read_text()


def test_a_table_without_runs_says_what_makes_them(workdir):
    with pytest.raises(ResultsError, match="holds no finished run of 'table1'; dfc-neuro sweep"):
        draw(["table1"])


def test_text_in_latex():
    text = Table(["a_b", "50 %"], [["x & y", "±1"]], notes=["n"]).latex()
    assert r"a\_b & 50 \% \\" in text and r"x \& y & $\pm$1 \\" in text and "% n" in text


def test_stable_directions_are_stable_and_of_unit_norm():
    rng = np.random.default_rng(2)
    J = rng.normal(size=(2, 4))
    found = fig2.stable_directions(J, rng)
    assert 0 < len(found) < fig2.DRAWN
    for Q in found:
        eigenvalues = np.linalg.eigvals(J @ Q.reshape(4, 2))
        assert eigenvalues.real.min() >= 0 and np.linalg.norm(Q) == pytest.approx(1)
    np.testing.assert_allclose(fig2.damped(J, 0), np.linalg.pinv(J), atol=1e-12)
    far = fig2.direction(fig2.damped(J, 1e9))
    np.testing.assert_allclose(far, fig2.direction(J.T), atol=1e-8)


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """Return a result that holds all that the figures of the paper draw."""
    path, rng = tmp_path_factory.mktemp("fake") / "x.h5", np.random.default_rng(0)
    epochs = np.arange(41)
    names = {"condition_1": 0.4, "condition_2": 1, "angle_mn": 70, "angle_gn": 70, "angle_ssa": 8,
             "angle_bp": 70, "angle_q_jt": 70, "angle_q_pinv": 70}
    names |= {f"rate_norms_r{i}": 0.3 for i in range(3)}
    names |= {f"stability_{A}{end}": 0.1 if end else -0.5 for end in ("", "_sd")
              for A in ("A_tildeI", "A_I", "A_instI", "A_PI")}
    with Writer(path, {"name": "fake", "protocol": "", "model": "", "seed": 42}) as file:
        for name, size in names.items():
            values = size * (0.7 + 0.3 * rng.random(41))
            file.extend(f"metrics/{name}", values, ("epoch",), "1", {"epoch": epochs})
        file.put("weights/W2", rng.normal(size=(2, 2)), ("post", "pre"), "1")
        file.put("recordings/voltages/v_soma", rng.normal(size=(1, 1, 1, 2)),
                 ("epoch", "time", "sample", "unit"), "1")
        for name in ("u", "r_output", "target"):
            file.put(f"recordings/control/{name}", rng.normal(size=(1, 9, 1, 1)),
                     ("epoch", "time", "sample", "unit"), "1",
                     {"time": (np.arange(9.0), "tau_u")})
        file.finish()
    return Result(path)


@pytest.mark.parametrize(("name", "labels"), FIGURES.items())
def test_figures_are_fit_to_print(fake, runs, name, labels):
    """One or two columns wide, nothing below 7 pt, nothing outside, what is said is there."""
    module = import_module(f"dfc_neuro.figures.{name}")
    roles = {role: fake for role in module.REQUIRES}
    with style.context(str(resources.files("dfc_neuro.figures") / "style.mplstyle")):
        fig = module.make(roles | ({"runs": runs} if hasattr(module, "COLLECTS") else {}))
        fig.draw_without_rendering()
    texts = [t for t in fig.findobj(Text) if t.get_text() and t.get_visible()]
    assert min(t.get_fontsize() for t in texts) >= 7
    assert {t.get_text() for t in texts} >= labels
    box, size = fig.get_tightbbox(), fig.get_size_inches()
    assert size[0] * 25.4 == pytest.approx(85 if size[0] < 4 else 175, abs=1)
    assert min(box.x0, box.y0) > -0.04  # a millimetre
    assert box.x1 < size[0] + 0.04 and box.y1 < size[1] + 0.04
    assert len(fig.axes) > 1 or name == "dfc_fig2"


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "table1"])
def test_needed_runs_are_those_of_the_protocol(name):
    """Each key that a figure sets changes what is computed, so no two roles share a run."""
    needed = import_module(f"dfc_neuro.figures.{name}").REQUIRES
    paths = [result_path(n["protocol"], seed=n.get("seed"), keys=n.get("keys"))
             for n in needed.values()]
    assert len(set(paths)) == len(paths) == {"dfc_fig3": 7, "dfc_figS2": 14, "dfc_figS3": 12,
                                             "dfc_figS4": 10}.get(name, 1)


def test_given_results_are_told_apart_by_their_keys(runs, workdir):
    (workdir / "mine.py").write_text(
        '"""Mine."""\nfrom matplotlib.figure import Figure\n'
        'REQUIRES = {m: {"protocol": "table1", "seed": s, "keys": {"method": m, "column": c}}\n'
        '            for m, c, s in (("bp", "fmnist", 2), ("dfa", "mnist_train", 0))}\n'
        "def make(results):\n"
        "    for name, run in results.items():\n"
        '        assert run.protocol["method"] == name, run\n'
        '    assert results["bp"].attrs["seed"] == 2\n    return Figure()\n')
    paths = [run.path for run in runs]
    assert [p.name for p in draw(["mine.py"], paths, formats=["png"])] == ["mine.png"]
    with pytest.raises(ResultsError, match="needs one result of 'table1'"):
        draw(["mine.py"], paths[:1] + paths[-2:-1], formats=["png"])
