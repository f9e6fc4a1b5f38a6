"""Protocol golden: a reference case on either engine, announced if unstable, refused if edited."""

import copy
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

from dfc_neuro.cli import main
from dfc_neuro.files import load
from dfc_neuro.results import Result, _size


@pytest.fixture(scope="module")
def reference(data):
    with h5py.File(data / "dfc_reference_thin.h5") as file:
        yield file


def golden(out, *sets, status=0):
    arguments = ["run", "golden", "-o", str(out)]
    for one in sets:
        arguments += ["--set", one]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == status, done.output
    return done


@pytest.mark.parametrize("case", ["linear_net", "regression_pi", "regression_integral_delay",
                                  "regression_instant", "classification_pi"])
def test_the_trajectory_of_the_authors_code(reference, tmp_path, caplog, case):
    golden(tmp_path / "run.h5", f"data.case={case}")
    assert "unstable" not in caplog.text
    result, group = Result(tmp_path / "run.h5"), reference[f"{case}/dynamics"]
    stored = group.attrs.get("time_index", np.arange(group["u"].shape[0]))
    np.testing.assert_allclose(result["control"]["u"].values[stored], group["u"], atol=1e-10)
    voltages, depth = result["voltages"], len(reference[case].attrs["sizes"]) - 1
    for i in range(1, depth + 1):
        for name in ("v_soma", "v_apical", "v_basal"):
            values = voltages[f"{name}{i}"]
            assert values.dims == ("time", "sample", "unit")
            np.testing.assert_allclose(values.values[stored], group[f"{name}{i}"], atol=1e-10)
    time = voltages["v_soma1"].coords["time"]
    dt = reference[case].attrs["dt_di"]
    np.testing.assert_allclose(time, dt * np.arange(reference[case].attrs["tmax_di"]), rtol=1e-12)
    # the measures that are printed, from the authors' numbers
    error = reference[f"{case}/output_target"] - group[f"r{depth}"][-1]
    assert result.measures["error_end"].values == pytest.approx(np.abs(error).max(), abs=1e-10)
    steady = [reference[f"{case}/ssa/v{i}"][:] for i in range(1, depth + 1)]
    distance = max(np.abs(group[f"v_soma{i}"][-1] - v).max() for i, v in enumerate(steady, 1))
    assert result.measures["ssa_distance"].values == pytest.approx(
        distance / max(np.abs(v).max() for v in steady), rel=1e-8)


@pytest.mark.parametrize("engine", ["rates", "brian"])
def test_a_thinned_trajectory(tmp_path, engine):
    """Every fifth state of voltages, every state of the control; the measures are the same."""
    kept = {}
    for name, sets in (("all", ()), ("thin", ("record.voltages.every=0.1",))):
        golden(tmp_path / f"{name}.h5", "data.case=regression_pi", f"numerics.engine={engine}",
               "numerics.target=numpy", *sets)
        kept[name] = Result(tmp_path / f"{name}.h5")
    whole, thin = kept["all"], kept["thin"]
    for name in thin["voltages"]:
        np.testing.assert_array_equal(thin["voltages"][name].values,
                                      whole["voltages"][name].values[::5])
    np.testing.assert_array_equal(thin["voltages"]["v_soma1"].coords["time"],
                                  whole["voltages"]["v_soma1"].coords["time"][::5])
    np.testing.assert_array_equal(thin["control"]["u"].values, whole["control"]["u"].values)
    assert thin.measures["error_end"].values == whole.measures["error_end"].values


def test_what_does_not_fit_is_refused_before_the_run(tmp_path, monkeypatch):
    """The size is exactly that of what is written; twice that is needed for a moment."""
    path = tmp_path / "run.h5"
    golden(path, "data.case=linear_net")
    result = Result(path)
    written = sum(a.values.nbytes for table in ("voltages", "control")
                  for a in (result[table][name] for name in result[table]))
    for free, status in ((2 * written - 1, 2), (2 * written, 0)):
        monkeypatch.setattr(_size.shutil, "disk_usage", lambda _, n=free: SimpleNamespace(free=n))
        done = golden(tmp_path / f"{free}.h5", "data.case=linear_net", status=status)
    assert "golden: record: asks for" not in done.output
    monkeypatch.undo()
    monkeypatch.setattr(_size, "available_memory", lambda: 1000.0)
    done = golden(tmp_path / "m.h5", "data.case=linear_net", status=2)
    assert "record: asks for" in done.stderr and "of memory, and 1 kB are available" in done.stderr
    assert "every" in done.stderr


def test_the_unstable_case_is_announced_and_stops(tmp_path, caplog):
    path = tmp_path / "run.h5"
    done = golden(path, "data.case=linear_net_unstable", status=1)
    assert "this case is unstable: a leading eigenvalue is +0.86" in caplog.text
    failed = done.stderr.splitlines()[-1]
    assert failed.startswith("dfc-neuro: the somatic voltage of layer ")
    assert "passed 100 " in failed and " tau_u (step " in failed
    assert not path.exists()
    # it grows as exp(.8607 t): ten times less is that much earlier, to the eight steps of a check
    early = golden(path, "data.case=linear_net_unstable", "numerics.bound=10", status=1).stderr
    late, soon = (float(text.partition("at time ")[2].split()[0]) for text in (failed, early))
    assert late - soon == pytest.approx(np.log(10) / 0.8607, abs=9 * 0.02)


def test_unknown_cases_and_keys(tmp_path):
    for sets, named in (
            (["data.case=linear_nett"], "no case 'linear_nett'; did you mean 'linear_net'?"),
            (["data.case=mnist"], "no case 'mnist'; known: classification_pi, linear_net"),
            (["data.cas=linear_net"], "data.cas: unknown key; did you mean 'case'?"),
            (['duration="1 s"'], "duration: found '1 s'; a reference case has its own"),
            (["data.file=nowhere.h5"], "data.file: 'nowhere.h5' is not a file"),
            (["cells.tau_v=-1"], "a time constant is positive"),
            (["record.voltages.every=0.015"], "record.voltages.every: found 0.015; give a mult"),
            (["record.voltages.every=1 ms"], "record.voltages.every: found"),
            (["record.voltages.units=[0]"], "record.voltages.units: is not used"),
            (["numerics.engine=brian", "numerics.proactive=true"],
             "numerics.proactive: is an option of the rate engine's discretisation"),
            (["numerics.engine=brian", "numerics.transmission=instant"], "numerics.transmission"),
            (["numerics.engine=brian", "numerics.instant_system=true"], "numerics.instant_system")):
        assert named in golden(tmp_path / "run.h5", *sets, status=2).stderr
        assert not (tmp_path / "run.h5").exists()


def test_both_engines_meet_at_the_steady_state(reference, tmp_path):
    """Both go to ssa/*; the rate engine with Euler steps, Brian2 from the equations' text."""
    fast = ["numerics.dt=0.05", "controllers.control.alpha=3", "controllers.control.k_p=0"]
    golden(tmp_path / "rates.h5", *fast)
    golden(tmp_path / "brian.h5", *fast, "numerics.engine=brian")
    rates, brian = (Result(tmp_path / f"{name}.h5") for name in ("rates", "brian"))
    net = {n: reference[f"linear_net/parameters/{n}"][:] for n in ("W1", "W2", "b1", "b2", "Q1",
                                                                  "Q2")}
    v1 = reference["linear_net/input"] @ net["W1"].T + net["b1"]
    delta = reference["linear_net/output_target"] - (v1 @ net["W2"].T + net["b2"])
    gain = net["W2"] @ net["Q1"] + net["Q2"] + 3 * np.eye(3)
    u = np.linalg.solve(gain, delta.T).T
    for result in (rates, brian):
        assert result.attrs["engine"] == ("rates" if result is rates else "brian")
        np.testing.assert_allclose(result["voltages"]["v_soma1"].values[-1], v1 + u @ net["Q1"].T,
                                   atol=1e-6)
        assert result.measures["error_end"].values == pytest.approx(3 * np.abs(u).max(), abs=1e-6)


def test_an_edited_cell_runs_in_brian_and_is_refused_by_rates(reference, tmp_path):
    """Twice the leak halves the inputs: v = (v_basal + v_apical)/2 at rest."""
    source = copy.deepcopy(load("pyramidal_rate", "cell").source)
    text = source["equations"].replace("- v_soma)/tau_v", "- 2*v_soma)/tau_v")
    assert text != source["equations"]
    path = tmp_path / "leaky.toml"
    path.write_text(tomli_w.dumps(source | {"equations": text}))
    own = f"populations.hidden.cell={path}"
    message = golden(tmp_path / "a.h5", own, status=2).stderr
    assert "equations line 3: dv_soma/dt has the term '-2*v_soma/tau_v' where the rate engine " \
        "has '-v_soma/tau_v'" in message
    assert "engine 'brian' runs any text" in message and not (tmp_path / "a.h5").exists()
    golden(tmp_path / "b.h5", own, "numerics.engine=brian", "numerics.dt=0.1")
    v = Result(tmp_path / "b.h5")["voltages"]
    soma, inputs = v["v_soma1"].values[-1], v["v_basal1"].values[-1] + v["v_apical1"].values[-1]
    np.testing.assert_allclose(soma, inputs / 2, atol=2e-3)
    shipped = reference["linear_net/dynamics/v_soma1"][-1]
    assert np.abs(soma - shipped).max() > 0.1
