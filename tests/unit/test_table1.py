"""Table 1: its protocol holds the authors' numbers, its columns run, its cells rest on runs."""

import csv

import numpy as np
import pytest

import dfc_neuro as dn
from dfc_neuro.datasets._idx import write_idx
from dfc_neuro.files import resolve

COLUMNS = {"mnist": "mnist", "fmnist": "fashion_mnist", "autoencoder": "mnist_autoencoder",
           "mnist_train": "mnist"}
METHODS = ("dfc", "dfc_ss", "dfc_ssa")
ROWS = [("bp", None), ("dfa", None), *((m, f) for m in METHODS for f in ("learned", "fixed"))]


@pytest.fixture(scope="module")
def published(data):
    """Return {(column, row): {flag: text}}; rows are families, and variants such as fixed_dfc."""
    found = {}
    with open(data / "dfc_table1.csv", newline="") as file:
        for line in csv.DictReader(file):
            found.setdefault((line["column"], line["row"]), {})[line["flag"]] = line["value"]
    assert sum(map(len, found.values())) == 584
    return found


def flags(published, column, method, feedback):
    """Return the published flags of one cell of the table."""
    if feedback is None:
        return published[column, method]
    variant = method if feedback == "learned" else f"fixed_{method}"
    own = {k: v for k, v in published[column, variant].items() if v != "unused"}
    return {**published[column, feedback], **own}


def cell(column, method, feedback):
    keys = {"column": column, "method": method} | ({"feedback": feedback} if feedback else {})
    return resolve.protocol("table1", keys)


def constant(protocol, phase, name):
    """Return a constant of the controller, or a time constant in units of its tau_u."""
    own = resolve.phase(protocol, phase).circuit
    ((model,),) = [own.controller_models.values()]
    if name in ("alpha", "k_p"):
        return model.constants[name].value
    return own.cells["hidden1"].constants[name].value / model.constants["tau_u"].value


@pytest.mark.parametrize(("method", "feedback"), ROWS)
@pytest.mark.parametrize("column", COLUMNS)
def test_numbers_are_those_of_the_configurations(published, column, method, feedback):
    wanted, found = flags(published, column, method, feedback), cell(column, method, feedback)
    number = {k: float(v) for k, v in wanted.items() if v.replace(".", "").replace("e-", "")
              .isdigit()}
    W, Q = found.optimisers["W"], found.optimisers["Q"]
    assert found.data["name"] == COLUMNS[column] and found.data["batch"] == 128
    assert found.schedule.epochs == number["epochs"]
    assert found.data["target_stepsize"] == number["target_stepsize"]
    assert W["lr"] == number["lr"] / number["target_stepsize"]
    assert (W["eps"], W["betas"], W["name"]) == (number["epsilon"], [0.99, 0.99], "adam")
    assert W["clip"] == ("none" if method == "bp" else "each")
    if feedback is None:
        return
    control = found.phases["control"]
    assert constant(found, "control", "alpha") == number["alpha_di"]
    assert found.feedback == ("fixed" if wanted["freeze_fb_weights"] == "True" else "learned")
    if method != "dfc_ssa":
        assert constant(found, "control", "k_p") == number["k_p"]
        assert constant(found, "control", "tau_v") == pytest.approx(number["time_constant_ratio"])
        assert control.steps == number["tmax_di"] and found.numerics.dt == number["dt_di"]
        assert str(control.proactive) == wanted["proactive_controller"]
        kept = wanted["include_non_converged_samples"].startswith("True")
        assert found.keep_unconverged == kept
    if feedback == "fixed":
        return
    phase = found.phases["feedback"]
    assert found.schedule.before == {"feedback": number["epochs_fb"]}
    assert found.schedule.epoch == (
        "feedback", "control", *["feedback"] * int(number["extra_fb_epochs"]))
    assert Q["lr"] == {"before": number["lr_fb_init"], "after": number["lr_fb"]}
    assert (Q["eps"], Q["weight_decay"]) == (number["epsilon_fb"], number["feedback_wd"])
    assert (Q["name"], Q["betas"], Q["clip"]) == ("adam", [0.99, 0.99], "global")
    assert phase.noise == number["sigma"] and phase.steps == number["tmax_di_fb"]
    assert phase.noise_output == number.get("sigma_output_fb")
    assert phase.keys["numerics.dt"] == number["dt_di_fb"] and not phase.proactive
    for ours, theirs in (("alpha", "alpha_fb"), ("k_p", "k_p_fb")):
        assert constant(found, "feedback", ours) == number[theirs]
    for ours, theirs in (("tau_v", "time_constant_ratio_fb"), ("tau_A", "apical_time_constant_fb")):
        assert constant(found, "feedback", ours) == pytest.approx(number[theirs], rel=1e-12)
    assert ("Q4" in found.circuit.rules) == (wanted["freeze_fb_weights_output"] == "False")


def test_networks_of_the_columns():
    for column in COLUMNS:
        circuit = cell(column, "dfc", "learned").circuit
        sizes = [p.n for p in circuit.populations.values()]
        auto = column == "autoencoder"
        assert sizes == ([784, 256, 32, 256, 784] if auto else [784, 256, 256, 256, 10])
        phi = [circuit.cells[name].functions["phi(x)"] for name in list(circuit.populations)[1:]]
        assert phi == ["tanh(x)", "x" if auto else "tanh(x)", "tanh(x)", "x"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a folder with a few random images."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, n in (("train", 700), ("t10k", 20)):
        write_idx(folder / f"{part}-images-idx3-ubyte",
                  rng.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", rng.integers(0, 10, n, dtype=np.uint8))
    return str(folder)


@pytest.mark.parametrize("column", COLUMNS)
def test_each_column_runs_in_its_small_size(images, tmp_path, column):
    result = dn.run("table1", out=tmp_path / "x.h5", quick=True, progress=False, column=column,
                    method="bp", keys={"data.folder": images, "data.validation": 100})
    assert np.isfinite(result.metrics["train_loss"].values[1])
    assert {"validation_error", "test_error"} <= set(result.metrics)
    assert len(result.metrics["test_error"].values) == 2


def test_alignment_on_images_in_its_small_size(images, tmp_path):
    result = dn.run("dfc_figS5", out=tmp_path / "x.h5", quick=True, progress=False, column="mnist",
                    method="dfc_ssa", keys={"data.folder": images, "data.validation": 100,
                                            "layers": [784, 12, 12, 12, 10]})
    for name in ("angle_bp", "angle_mn", "angle_ssa", "condition_2", "angle_q_jt", "angle_q_pinv"):
        assert np.isfinite(result.metrics[name].values).all(), name
    assert result.metrics["angle_ssa"].values[-1] == pytest.approx(0, abs=1e-3)
    assert result.protocol["diagnostics"]["gamma"] == 1.0


def test_steps_of_the_alignment_runs():
    """Published: 1000 steps of 0.005 on the image classes, of 0.001 for the autoencoder."""
    for column, method, dt in (("mnist", "dfc", 0.005), ("fmnist", "dfc_ss", 0.005),
                               ("autoencoder", "dfc", 0.001), ("autoencoder", "dfc_ss", 0.001)):
        found = resolve.protocol("dfc_figS5", {"column": column, "method": method})
        assert (found.numerics.dt, found.phases["control"].steps) == (dt, 1000)
        assert found.keep_unconverged
    assert not resolve.protocol("dfc_figS5", {"column": "mnist"}).phases["control"].proactive
