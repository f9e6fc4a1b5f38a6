"""Drawing functions and figures: what is drawn are the file's numbers, labelled, fit to print."""

import json
import re

import numpy as np
import pytest
import tomli_w
from matplotlib.figure import Figure
from matplotlib.text import Text

from dfc_neuro import figure, plot
from dfc_neuro.errors import InputError, ResultsError
from dfc_neuro.plot._recordings import condition_values
from dfc_neuro.results import Result, Writer

EPOCHS = [0, 1, 2]
TIMES = np.linspace(0, 2, 21)
TIME = r"Time ($\tau_u$)"
LABELS = {
    "bench": {"Time per minibatch (ms)", "Part of GEMM rate", "DFC, Euler", "BP", "float32"},
    "quickstart": {"Epoch", "Error (%)", "Angle to update (°)", "Presynaptic rate", TIME},
    "control": {TIME, "Output $r_L$, change", "Controller $u$"},
    "voltages": {TIME, "Voltage change ($10^{-3}$)", "apical"},
    "spiking_learning": {"Test loss", "spikes", "rates", "after epoch 2", "apical"},
    "escape": {"Time (ms)", "Voltage (mV)", "120 pA at soma"},
    "clopath_clamp": {"Clamp voltage (mV)", "Weight change", "closed form"},
    "bac_firing": {"Time (ms)", "Voltage (mV)", "both", "2 nA", "1.8 nA", "basal"},
    "fi_curve": {"Somatic current (pA)", "Firing rate (Hz)", "without"},
    "attenuation": {"Time (ms)", "Voltage change (mV)", "step at the apex", "apical"},
    "coincidence_window": {"Input after pulse (ms)", "Apical peak (mV)", "Apical input (pA)"},
    "critical_frequency": {"Frequency (Hz)", "Apical peak (mV)", "Voltage (mV)", "soma"},
    "multiplexing": {"Apical drive (pA)", "Burst probability", "Rate (Hz)", "SST", "0 pA"},
    "bac_pairing": {"Change of the weight", "Apical voltage (mV)", "Somatic pulse minus EPSC (ms)"},
    "burst_pairing": {"Weight (% of start)", "Rate in the burst of 3 (Hz)"},
    "dendritic_prediction": {"Time (ms)", "Voltage (mV)", "teacher removed", "Pattern"},
    "dfc_step": {"Time (ms)", "Error of the output", "Hidden weight", "target"},
    "heterosynaptic": {"Weight (% of start)"},
    "pairing_frequency": {"Weight (% of start)"},
    "proximal_distal": {"Weight (% of start)"},
    "stdp_window": {"Lag, post minus pre (ms)", "60 pairs at", "Weight (% of start)"},
    "triplets": {"Weight (% of start)"},
    "microcircuit_learning": {"Rounds", "Squared error", "hidden fixed", "after", "Time (s)"},
}
LABORATORY = ("bac_pairing", "burst_pairing", "dendritic_prediction", "dfc_step", "heterosynaptic",
              "pairing_frequency", "proximal_distal", "stdp_window", "triplets")
VOLTAGES = [-80.0, -60.0, -50.0, -40.0, -30.0]
# those of the paper have their own tests, in test_figures_paper.py; so has the reduction's
FIGURES = [name for name in figure.names()
           if not name.startswith(("dfc_fig", "table", "spiking_plasticity"))]


def _learning(path):
    header = {"name": "quickstart", "protocol": tomli_w.dumps({"data": {"name": "digits"}})}
    rng = np.random.default_rng(0)
    epoch = {"epoch": EPOCHS}
    scales = epoch | {"time": (TIMES, "tau_u")}
    with Writer(path, header) as writer:
        for name, values, unit in (
            ("train_error", [np.nan, 0.3, 0.1], "1"),
            ("test_error", [0.9, 0.25, 0.125], "1"),
            ("angle_gn", [85.0, 30.0, 32.0], "degree"),
            ("angle_bp", [86.0, 33.0, 36.0], "degree"),
        ):
            writer.extend(f"metrics/{name}", values, ["epoch"], unit, epoch)
        for k, name in enumerate(("v_basal", "v_apical", "v_soma")):
            values = 0.5 + 1e-3 * k * rng.random((3, 21, 2, 3))
            writer.extend(
                f"recordings/voltages/{name}",
                values,
                ("epoch", "time", "sample", "unit"),
                "1",
                scales | {"unit": [4, 7, 9]},
            )
        for name in ("r_output", "u", "target"):
            values = rng.random((3, 21, 2, 5))
            writer.extend(
                f"recordings/control/{name}",
                values,
                ("epoch", "time", "sample", "unit"),
                "1",
                scales,
            )
        mismatch, rate = rng.normal(size=(3, 2, 3)), rng.normal(size=(3, 2, 4))
        plastic = "recordings/plasticity"
        writer.extend(f"{plastic}/mismatch", mismatch, ("epoch", "sample", "unit"), "1", epoch)
        writer.extend(f"{plastic}/rate_pre", rate, ("epoch", "sample", "pre"), "1", epoch)
        change = mismatch[..., None] * rate[:, :, None, :]
        dims = ("epoch", "sample", "unit", "pre")
        writer.extend(f"{plastic}/weight_change", change, dims, "1", epoch)
    return Result(path)


def _spiking(path):
    with Writer(path, {"name": "spiking_regression"}) as writer:
        for name in ("test_loss", "test_loss_of_rates", "angle_q_jt"):
            writer.extend(f"metrics/{name}", [50.0, 20.0, 10.0], ["epoch"], "1", {"epoch": EPOCHS})
        for k, name in enumerate(("basal", "soma", "apical")):
            writer.extend(f"recordings/voltages/V_m_{name}",
                          np.full((2, len(TIMES), 1, 2), -0.07 + 0.001 * k),
                          ("epoch", "time", "sample", "unit"), "volt",
                          {"epoch": [0, 2], "time": (TIMES, "second"), "unit": [0, 1]})
    return Result(path)


def _escape(path):
    stimuli = {
        "step": {"at": "soma", "amplitude": "120 pA", "from": "50 ms", "to": "200 ms"},
        "pulse": {"at": "apical", "amplitude": "200 pA", "start": "260 ms", "width": "20 ms"},
    }
    header = {"name": "escape_step", "protocol": tomli_w.dumps({"stimuli": stimuli})}
    with Writer(path, header) as writer:
        for name, v in (("basal", -0.07), ("soma", -0.06), ("apical", -0.065)):
            writer.extend(
                f"recordings/voltages/V_m_{name}",
                np.linspace(v, v + 0.01, 5)[:, None, None],
                ("time", "condition", "unit"),
                "volt",
                {"time": (np.arange(5) * 0.1, "second"), "condition": ["default"], "unit": [0]},
            )
        writer.extend("spikes/spikes/time", [0.1, 0.25], ["spike"], "second")
        writer.extend("spikes/spikes/unit", [0, 0], ["spike"])
        writer.extend("spikes/spikes/condition", ["default", "default"], ["spike"])
    return Result(path)


def _clamp(path):
    rule = {
        "parameters": {
            "A_LTD": "14e-5 / mV",
            "A_LTP": "8e-5 / mV**2",
            "theta_minus": "-70.6 mV",
            "theta_plus": "-45.3 mV",
        },
        "bounds": {"w": [0, 3]},
    }
    protocol = {"plastic": {"test": {"w": 0.5}}, "stimuli": {"pre": {"train": {"n": 25}}}}
    header = {
        "name": "clopath_clamp",
        "protocol": tomli_w.dumps(protocol),
        "model": tomli_w.dumps({"rules": {"test": rule}}),
    }
    labels = [f"voltage={v:g} mV" for v in VOLTAGES]
    w = np.stack([np.full((5, 1), 0.5), [[0.5], [0.47], [0.42], [0.7], [1.6]]])
    with Writer(path, header) as writer:
        writer.extend(
            "recordings/test/w",
            w,
            ("time", "condition", "synapse"),
            "1",
            {"time": ([0.0, 0.9], "second"), "condition": labels},
        )
        writer.put("measures/last", w[-1, :, 0], ["condition"], "1", {"condition": labels})
    return Result(path)


@pytest.fixture(scope="module")
def results(tmp_path_factory, made_up):
    folder = tmp_path_factory.mktemp("results")
    learning = _learning(folder / "quickstart.h5")
    recordings = ("bac_firing", "fi_curve", "attenuation", "coincidence_window",
                  "critical_frequency", "calcium_threshold",
                  "multiplexing", "microcircuit_learning", *LABORATORY)
    return {name: made_up(name) for name in recordings} | {
        "bench": learning,  # which is not read: its table is results/bench.json
        "quickstart": learning,
        "control": learning,
        "voltages": learning,
        "escape": _escape(folder / "escape.h5"),
        "spiking_learning": _spiking(folder / "spiking_regression.h5"),
        "clopath_clamp": _clamp(folder / "clamp.h5"),
    }


@pytest.fixture
def sources(results, name):
    """Return the files that a figure is drawn from."""
    more = {"coincidence_window": ["calcium_threshold"]}
    return [results[key].path for key in (name, *more.get(name, ()))]


@pytest.fixture
def bench_table(workdir):
    """Leave a table of the benchmark where its figure looks for one."""
    rows = [
        {"method": method, "integrator": integrator, "feedback": "none", "dtype": dtype,
         "threads": 2, "seconds": seconds, "fraction_of_gemm": fraction}
        for method, integrator, dtype, seconds, fraction in (
            ("dfc", "euler", "float32", 0.4, 0.6), ("dfc", "euler", "float64", 0.9, 0.5),
            ("dfc", "averaged", "float32", 0.004, None), ("bp", "none", "float32", 0.002, 0.7))
    ]
    (workdir / "results").mkdir()
    (workdir / "results" / "bench.json").write_text(json.dumps({"rows": rows}))


def _line(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def test_learning_curve_is_in_per_cent(results):
    ax = plot.learning_curve(results["quickstart"])
    assert _line(ax, "test").get_xydata().tolist() == [[0, 90], [1, 25], [2, 12.5]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Epoch", "Error (%)")


def test_angles(results):
    ax = plot.angles(results["quickstart"])
    assert _line(ax, "GN").get_ydata().tolist() == [85, 30, 32]
    assert _line(ax, "BP").get_ydata().tolist() == [86, 33, 36]
    with pytest.raises(ResultsError, match=r"has no metric angle_mn; it has .*angle_bp"):
        plot.angles(results["quickstart"], metrics=["angle_mn"])


def test_voltages_in_millivolt_and_milliseconds(results):
    ax = plot.voltages(results["escape"])
    np.testing.assert_allclose(_line(ax, "soma").get_ydata(), np.linspace(-60, -50, 5))
    np.testing.assert_allclose(_line(ax, "soma").get_xdata(), np.arange(5) * 100)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Time (ms)", "Voltage (mV)")


def test_relative_voltages_begin_at_zero(results):
    result = results["quickstart"]
    ax = plot.voltages(result, unit=7, epoch=1, sample=1, relative=True, exponent=-3)
    v = result["voltages"]["v_apical"].sel(unit=7, epoch=1).isel(sample=1).values
    np.testing.assert_allclose(_line(ax, "apical").get_ydata(), (v - v[0]) * 1e3)
    assert ax.get_ylabel() == "Voltage change ($10^{-3}$)"
    assert ax.get_xlabel() == r"Time ($\tau_u$)"


def test_control_with_its_target(results):
    result = results["quickstart"]
    ax = plot.control(result, units=(3,), epoch=0)
    at = result["control"].sel(epoch=0).isel(sample=0, unit=3)
    assert np.array_equal(ax.lines[0].get_ydata(), at["r_output"].values)
    assert np.array_equal(ax.lines[1].get_ydata(), at["target"].values)
    assert len(plot.control(result, what="u").lines) == 1


def test_plasticity_points_are_products(results):
    ax = plot.plasticity(results["quickstart"], epoch=1)
    points = ax.collections[0]
    x, y = points.get_offsets().T
    np.testing.assert_allclose(y, x * points.get_array(), atol=1e-12)
    assert len(x) == 2 * 3 * 4


def test_weight_change_against_the_clamp(results):
    ax = plot.weight_change(results["clopath_clamp"], key="voltage")
    assert ax.lines[0].get_xdata().tolist() == VOLTAGES
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0, -0.03, -0.08, 0.2, 1.1])
    assert ax.get_xlabel() == "Voltage (mV)"
    ax = plot.measure_by(results["clopath_clamp"], measure="last", key="voltage")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.5, 0.47, 0.42, 0.7, 1.6])


def test_raster(results):
    ax = plot.raster(results["escape"], condition="default")
    assert ax.lines[0].get_xdata().tolist() == [100, 250]


def test_condition_values():
    values, unit = condition_values(["f=10 Hz, lag=-5 ms", "f=0.1 Hz, lag=5 ms"], "f", "x")
    assert values.tolist() == [10, 0.1] and unit == "Hz"
    values, unit = condition_values(["A, n=2", "A, n=1e3"], "n", "x")
    assert values.tolist() == [2, 1000] and unit == ""
    with pytest.raises(ResultsError, match="condition 'BAC' gives no number to 'f'"):
        condition_values(["BAC"], "f", "x")
    with pytest.raises(ResultsError, match=r"give 'f' in Hz, kHz"):
        condition_values(["f=1 Hz", "f=1 kHz"], "f", "x")


def test_missing_recordings_are_named(results):
    with pytest.raises(ResultsError, match="holds no spikes"):
        plot.raster(results["clopath_clamp"])
    with pytest.raises(ResultsError, match="holds no recording of mismatch; it has test"):
        plot.plasticity(results["clopath_clamp"])
    with pytest.raises(ResultsError, match="has no recording 'voltage'; did you mean 'voltages'"):
        plot.voltages(results["escape"], name="voltage")


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_readable_and_fit_to_print(sources, monkeypatch, workdir, bench_table, name):
    seen, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *to, **how: seen.append(self) or save(self, *to, **how)
    )
    paths = figure.draw([name], sources, workdir / "out")
    assert [p.name for p in paths] == [f"{name}.{kind}" for kind in ("pdf", "svg", "png")]
    assert sorted(p.name for p in (workdir / "out").iterdir()) == sorted(p.name for p in paths)
    pdf, svg, png = (p.read_bytes() for p in paths)
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert svg.count(b"<text") > 5
    width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", pdf).group(1)) / 72 * 25.4
    assert 84 < width < 86 or 174 < width < 176  # one column or two
    assert png[:4] == b"\x89PNG"
    (fig,) = set(seen)
    fig.draw_without_rendering()
    texts = [t for t in fig.findobj(Text) if t.get_text() and t.get_visible()]
    assert min(t.get_fontsize() for t in texts) >= 7
    assert {t.get_text() for t in texts} >= LABELS[name]
    box, size = fig.get_tightbbox(), fig.get_size_inches()
    assert min(box.x0, box.y0) > -0.02
    assert box.x1 < size[0] + 0.02 and box.y1 < size[1] + 0.02


@pytest.mark.parametrize("name", ["quickstart", "bac_firing"])
def test_a_figure_drawn_again_is_the_same_file(sources, workdir, name):
    once, again = (figure.draw([name], sources, workdir / folder) for folder in ("once", "again"))
    assert [p.read_bytes() for p in once] == [p.read_bytes() for p in again]


def test_draw_runs_what_is_missing(results, workdir, monkeypatch):
    import dfc_neuro.run  # noqa: F401 - the module, which the package hides behind the function

    module = __import__("sys").modules["dfc_neuro.run"]
    calls = []

    def run(protocol, **options):
        calls.append((protocol, options["quick"]))
        return results["escape"]

    monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(module, "result_path", lambda protocol, **options: workdir / "run.h5")
    (path,) = figure.draw(["escape"], formats=["svg"], quick=True)
    assert calls == [("escape_step", True)] and path.as_posix() == "results/figures/escape.svg"
    (workdir / "run.h5").write_bytes(results["escape"].path.read_bytes())
    figure.draw(["escape"], formats=["svg"])
    assert len(calls) == 1


def test_own_script(results, workdir):
    (workdir / "mine.py").write_text(
        '"""Mine."""\nfrom matplotlib.figure import Figure\nfrom dfc_neuro import plot\n'
        'REQUIRES = {"run": {"protocol": "other"}}\n'
        "def make(results):\n    fig = Figure()\n"
        '    plot.learning_curve(results["run"], fig.subplots())\n    return fig\n'
    )
    (path,) = figure.draw(["mine.py"], [results["quickstart"].path], formats=["png"])
    assert path.stat().st_size > 1000


def test_two_runs_of_one_protocol_are_told_apart_by_their_keys(workdir):
    for name, keys in (("plain", {}), ("special", {"variables": {"as_published": True}})):
        with Writer(f"{name}.h5", {"name": "mine", "protocol": tomli_w.dumps(
                {"kind": "recording", "name": name} | keys)}):
            pass
    (workdir / "mine.py").write_text(
        "from matplotlib.figure import Figure\n"
        "REQUIRES = {'run': {'protocol': 'mine'},\n"
        "            'other': {'protocol': 'mine', 'keys': {'as_published': True},"
        " 'optional': True}}\n"
        "def make(results):\n"
        "    assert results['run'].protocol['name'] == 'plain'\n"
        "    if 'other' in results:\n"
        "        assert results['other'].protocol['name'] == 'special'\n"
        "    return Figure()\n")
    for given in (["plain.h5", "special.h5"], ["special.h5", "plain.h5"], ["plain.h5"]):
        (path,) = figure.draw(["mine.py"], given, formats=["png"])
        assert path.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:", r"bad.py, line 1: SyntaxError"),
        ("x = 1", "has no REQUIRES"),
        ("REQUIRES = {'run': {'protocl': 'x'}}", "has no REQUIRES"),
        ("REQUIRES = {}", r"has no make\(results\)"),
        ("REQUIRES = {}\ndef make(r):\n    return 1", "returned no Figure"),
        ("REQUIRES = {}\ndef make(r):\n    return r['run']", "bad.py, line 3: KeyError: 'run'"),
    ],
)
def test_bad_scripts_are_named(workdir, text, message):
    (workdir / "bad.py").write_text(text)
    with pytest.raises(InputError, match=message):
        figure.draw(["bad.py"])


def test_bad_requests_are_refused(results, workdir):
    with pytest.raises(InputError, match="unknown figure 'escap'; did you mean 'escape'"):
        figure.draw(["escap"])
    with pytest.raises(InputError, match=r"none\.py: no such file"):
        figure.draw(["none.py"])
    with pytest.raises(InputError, match="--format: found 'jpg'; allowed are pdf, svg, png"):
        figure.draw(["escape"], formats=["jpg"])
    both = [results["quickstart"].path, results["clopath_clamp"].path]
    with pytest.raises(ResultsError, match="--from: figure 'escape' needs one result of 'escape_s"):
        figure.draw(["escape"], both)
    (workdir / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot be written to"):
        figure.draw(["escape"], [results["escape"].path], workdir / "file" / "x")
    with pytest.raises(ResultsError, match="has no metric train_error"):
        figure.draw(["quickstart"], [results["escape"].path])
