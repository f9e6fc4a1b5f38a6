"""Training runs: the order of passes, what learns, and the numbers that are written down."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w

from dfc_neuro.datasets import digits
from dfc_neuro.errors import NumericalError, ProtocolError, ResultsError
from dfc_neuro.files import load, resolve
from dfc_neuro.learning.planning import make_plan
from dfc_neuro.results import _size
from dfc_neuro.run import run

WHOLE = {"data.batch": 297, "schedule.epochs": 1, "record.epochs.what": ["loss", "error"]}
SGD = {"optimisers.W": {"name": "sgd", "lr": 0.5}, "optimisers.Q": {"name": "sgd", "lr": 0.01}}


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Return a function that runs the tiny protocol with keys, each once."""
    folder, done = tmp_path_factory.mktemp("runs"), {}

    def result(seed=0, **keys):
        what = seed, repr(sorted(keys.items()))
        if what not in done:
            done[what] = run(data / "tiny.toml", out=folder / f"{len(done)}.h5", seed=seed,
                             keys=keys, progress=False)
        return done[what]

    return result


@pytest.fixture(scope="module")
def split():
    return digits.load({"test": 1500, "split_seed": 0}, None, "test")


def weights(result):
    return {name: result.weights[name].values for name in result.weights}


def output(w, x):
    return np.tanh(x @ w["W1"].T + w["b1"]) @ w["W2"].T + w["b2"]


def loss(w, x, y):
    r = output(w, x)
    return -np.mean(r[np.arange(len(y)), y] - np.log(np.exp(r).sum(axis=1)))


def error(w, x, y):
    return np.mean(output(w, x).argmax(axis=1) != y)


def gradient(w, x, y):
    """Of the loss by the chain rule, for one hidden layer."""
    h, r = np.tanh(x @ w["W1"].T + w["b1"]), output(w, x)
    p = np.exp(r) / np.exp(r).sum(axis=1, keepdims=True)
    d2 = (p - np.eye(10)[y]) / len(y)
    d1 = (d2 @ w["W2"]) * (1 - h**2)
    return {"W1": d1.T @ x, "b1": d1.sum(0), "W2": d2.T @ h, "b2": d2.sum(0)}


def passes(data, **keys):
    plan = make_plan(resolve.protocol(data / "tiny.toml", keys), 0)
    return [(one.phase.name, one.epoch, one.ends_epoch) for one in plan.passes]


def test_order_of_passes(data):
    epochs = [(name, epoch, last) for epoch in (1, 2, 3)
              for name, last in (("feedback", False), ("control", False), ("feedback", True))]
    assert passes(data) == [("feedback", 0, False)] * 2 + epochs


@pytest.mark.parametrize("keys", [
    {"feedback": "fixed"}, {"feedback": "random"}, {"method": "bp"}, {"method": "dfa"}])
def test_feedback_passes_are_skipped_where_q_does_not_learn(data, keys):
    assert passes(data, **keys) == [("control", epoch, True) for epoch in (1, 2, 3)]


@pytest.mark.parametrize("feedback", ["fixed", "random"])
def test_q_that_does_not_learn_stays(trained, feedback):
    before = weights(trained(feedback=feedback, **{"schedule.epochs": 0}))
    after = weights(trained(feedback=feedback))
    for name in ("Q1", "Q2"):
        np.testing.assert_array_equal(after[name], before[name])
    wanted = before["W2"].T if feedback == "fixed" else before["Q1"]
    np.testing.assert_array_equal(after["Q1"], wanted)
    np.testing.assert_array_equal(after["Q2"], np.eye(10))
    assert np.abs(after["W1"] - before["W1"]).max() > 1e-3
    if feedback == "random":
        assert abs(before["Q1"].std() / np.sqrt(2 / 22) - 1) < 0.3  # xavier_normal, 12 x 10
        learned = weights(trained(**{"schedule.epochs": 0, "schedule.before.feedback": 0}))
        np.testing.assert_array_equal(learned["Q1"], before["Q1"])


def test_biases_start_at_zero_and_learn(trained):
    before, after = weights(trained(**{"schedule.epochs": 0})), weights(trained())
    for name in ("b1", "b2"):
        assert not before[name].any()
        assert np.abs(after[name]).min() > 0


def test_one_step_of_backpropagation_by_hand(trained, split):
    """Full batch, SGD: theta - lr dLoss/dtheta, and the training loss is that before the step."""
    start = weights(trained(method="bp", **{**WHOLE, **SGD, "schedule.epochs": 0}))
    result = trained(method="bp", **WHOLE, **SGD)
    x, y = split.train.x, split.train.y
    assert len(x) == 297
    step = gradient(start, x, y)
    for name, slope in step.items():
        np.testing.assert_allclose(weights(result)[name], start[name] - 0.5 * slope, atol=1e-13)
    metrics = result.metrics
    assert metrics["train_loss"].values[1] == pytest.approx(loss(start, x, y), rel=1e-12)
    assert metrics["train_error"].values[1] == pytest.approx(error(start, x, y), rel=1e-12)
    after = weights(result)
    test = split.test.x, split.test.y
    np.testing.assert_allclose(metrics["test_loss"].values,
                               [loss(w, *test) for w in (start, after)], rtol=1e-12)
    np.testing.assert_allclose(metrics["test_error"].values,
                               [error(w, *test) for w in (start, after)], rtol=1e-12)


def test_a_layer_without_a_rule_does_not_learn(trained, tmp_path):
    table = copy.deepcopy(load("dfc_layered", "circuit").source)
    for name in ("W1", "Q2"):
        del table["projections"][name]["rule"]
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(table))
    before = weights(trained(on=str(path), **{"schedule.epochs": 0}))
    after = weights(trained(on=str(path), **{"schedule.epochs": 1}))
    for name in ("W1", "b1", "Q2"):
        np.testing.assert_array_equal(after[name], before[name])
    for name in ("W2", "b2", "Q1"):
        assert np.abs(after[name] - before[name]).max() > 1e-4


@pytest.mark.parametrize("method", ["dfc", "dfc_ss", "dfc_ssa", "bp", "dfa"])
def test_every_method_lowers_the_loss(trained, split, method):
    result = trained(method=method, feedback="fixed")
    test_loss = result.metrics["test_loss"].values
    assert test_loss[-1] < 0.8 * test_loss[0]
    assert test_loss[-1] == pytest.approx(loss(weights(result), split.test.x, split.test.y),
                                          rel=1e-12)
    assert result.measures["test_error"].values == result.metrics["test_error"].values[-1]


def test_feedback_learning_turns_q_into_the_row_space_of_the_jacobian(trained, split):
    """Condition 2 = |P Q| / |Q|, P the projector on the rows of J = [W_2 diag(phi'), I]."""
    def condition_2(w):
        found = []
        for v in split.train.x @ w["W1"].T + w["b1"]:
            J = np.hstack([w["W2"] / np.cosh(v) ** 2, np.eye(10)])
            Q = np.vstack([w["Q1"], w["Q2"]])
            found.append(np.linalg.norm(np.linalg.pinv(J) @ J @ Q) / np.linalg.norm(Q))
        return np.mean(found)

    drawn, learned = (trained(**{"schedule.epochs": 0, "schedule.before.feedback": n,
                                 "diagnostics.samples": 297}) for n in (0, 15))
    start, end = condition_2(weights(drawn)), condition_2(weights(learned))
    assert drawn.metrics["condition_2"].values == pytest.approx([start], rel=1e-10)
    assert learned.measures["condition_2_before"].values == pytest.approx(end, rel=1e-10)
    assert end - start > 0.1
    np.testing.assert_array_equal(weights(learned)["W1"], weights(drawn)["W1"])


def test_layout_of_metrics_and_recordings(trained):
    result = trained()
    metrics = result.metrics
    assert set(metrics) >= {"train_loss", "train_error", "test_loss", "test_error", "condition_2",
                            "angle_bp", "converged", "diverged", "not_converged"}
    for name in metrics:
        assert metrics[name].dims == ("epoch",) and metrics[name].values.shape == (4,)
        np.testing.assert_array_equal(metrics[name].coords["epoch"], [0, 1, 2, 3])
    assert metrics["angle_bp"].units == "degree"
    for name in ("train_loss", "train_error", "converged"):  # nothing has been trained at epoch 0
        assert np.isnan(metrics[name].values[0])
        assert np.isfinite(metrics[name].values[1:]).all()
    counted = sum(metrics[name].values for name in ("converged", "diverged", "not_converged"))
    np.testing.assert_array_equal(counted[1:], [297, 297, 297])
    path = result["voltages"]["v_soma"]
    assert path.dims == ("epoch", "time", "sample", "unit")
    assert path.values.shape == (2, 60, 2, 2)
    np.testing.assert_array_equal(path.coords["epoch"], [0, 3])
    np.testing.assert_allclose(path.coords["time"], 0.05 * np.arange(60))
    np.testing.assert_array_equal(path.coords["unit"], [0, 5])
    w, split = weights(result), digits.load({"test": 1500, "split_seed": 0}, None, "test")
    v = split.test.x[:2] @ w["W1"].T + w["b1"]
    np.testing.assert_allclose(path.values[-1, 0], v[:, [0, 5]], rtol=1e-12)
    assert not result["voltages"]["v_apical"].values[:, 0].any()


def test_thinned_recordings(trained):
    whole = trained(**{"record.voltages.every": 0.05})["voltages"]["v_soma"]
    thin = trained(**{"record.voltages.every": 0.2})["voltages"]["v_soma"]
    assert whole.values.shape == (2, 60, 2, 2)  # epochs, states, samples, units
    np.testing.assert_array_equal(thin.values, whole.values[:, ::4])
    np.testing.assert_allclose(thin.coords["time"], 0.2 * np.arange(15), rtol=1e-12)


def test_recordings_that_do_not_fit_are_refused(data, tmp_path, monkeypatch):
    """Twice of 2 epochs x 60 states x 2 samples x 2 units x 2 variables, 8 bytes each."""
    written = 2 * 60 * 2 * 2 * 2 * 8
    for free in (2 * written - 1, 2 * written):
        monkeypatch.setattr(_size.shutil, "disk_usage", lambda _, n=free: SimpleNamespace(free=n))
        if free < 2 * written:
            with pytest.raises(ResultsError, match=r"record: asks for 7.68 kB.*\(every\)"):
                run(data / "tiny.toml", out=tmp_path / "x.h5", progress=False)
        else:
            _size.announce(tmp_path / "x.h5", written, "tiny.toml")
    assert not list(tmp_path.glob("*.h5"))


def test_minibatches_count_by_size_or_as_published(trained, split):
    """The published code averages over minibatches, the last of which is smaller."""
    keys = {"method": "bp", "schedule.epochs": 0, "data.batch": 400}
    found = {flag: trained(as_published=flag, **keys).metrics["test_error"].values[0]
             for flag in (False, True)}
    w = weights(trained(as_published=True, **keys))
    x, y = split.test.x, split.test.y
    assert found[False] == pytest.approx(error(w, x, y), rel=1e-12)
    parts = [error(w, x[i:i + 400], y[i:i + 400]) for i in range(0, 1500, 400)]
    assert len(parts) == 4 and found[True] == pytest.approx(np.mean(parts), rel=1e-12)
    assert found[True] != found[False]


@pytest.mark.parametrize(("nudge", "newton", "stepped"), [(1e-4, 0, 0), (20.0, 0, 297)])
def test_time_steps_in_the_place_of_the_closed_form_are_counted_and_said(
        data, tmp_path, caplog, nudge, newton, stepped):
    keys = {"feedback": "fixed", "numerics.integrator": "averaged", "schedule.epochs": 1,
            "record": {"epochs": {"what": ["loss"]}}, "data.target_stepsize": nudge,
            "optimisers.W": {"name": "sgd", "lr": 1e-9}}
    result = run(data / "tiny.toml", out=tmp_path / "x.h5", progress=False, keys=keys)
    assert result.metrics["newton"].values[-1] == newton
    assert result.metrics["stepped"].values[-1] == stepped  # all samples
    said = "epoch 1: the closed form of the time average gave way to time steps for 297 samples"
    assert (said in caplog.text) == bool(stepped)


@pytest.mark.parametrize(("noise", "stepped"), [(1e-4, 2), (0.5, 10)])
def test_feedback_weights_learn_without_steps_where_the_noise_is_small(
        data, tmp_path, caplog, noise, stepped):
    """Two passes an epoch of 5 minibatches, the first of which is taken in both ways.

    The noise is the same, so weights are nearly the same, or the same.
    """
    keys = {"method": "dfc_ssa", "schedule.epochs": 1, "phases.feedback.noise": noise,
            "record": {"epochs": {"what": ["loss"]}}, **SGD}
    found = run(data / "tiny.toml", out=tmp_path / "x.h5", progress=False,
                keys={**keys, "phases.feedback.numerics.integrator": "averaged"})
    exact = run(data / "tiny.toml", out=tmp_path / "y.h5", progress=False, keys=keys)
    assert found.metrics["feedback_stepped"].values[-1] == stepped
    assert "feedback_stepped" not in exact.metrics
    said = "phase feedback: the closed form would change an update by "
    assert caplog.text.count(said) == (stepped == 10)
    for name in ("Q1", "W1"):
        a, b = found.weights[name].values, exact.weights[name].values
        assert (np.array_equal(a, b) if stepped == 10
                else 0 < np.linalg.norm(a - b) < 1e-3 * np.linalg.norm(b))


def test_parameters_out_of_bounds_stop_the_run(data, tmp_path):
    with pytest.raises(NumericalError, match=r"W\d has left the bound 1000 .*in phase 'control' of "
                                             r"epoch 1: lower optimisers.W.lr"):
        run(data / "tiny.toml", out=tmp_path / "x.h5", progress=False,
            keys={"feedback": "fixed", "optimisers.W": {"name": "sgd", "lr": 1e9}})
    with pytest.raises(NumericalError, match=r"layer \d passed 0.001 .*at time \S+ tau_u"):
        run(data / "tiny.toml", out=tmp_path / "y.h5", progress=False,
            keys={"feedback": "fixed", "numerics.bound": 1e-3})
    assert not (tmp_path / "x.h5").exists() and not (tmp_path / "y.h5").exists()


@pytest.mark.parametrize(("keys", "named"), [
    ({"optimisers.Q": {"name": "adam", "lr": {"before": 1e-3, "afer": 1e-4}}},
     "optimisers.Q.lr: found"),
    ({"diagnostics.sample": 3}, "diagnostics.sample: unknown key; did you mean 'samples'?"),
    ({"diagnostics.samples": 0}, "diagnostics.samples: found 0"),
    ({"diagnostics.gamma": -1}, "diagnostics.gamma: found -1"),
    ({"record.voltages.phase": "feedback"}, "record.voltages.phase: is not used"),
    ({"record.voltages.every": 0.07}, "record.voltages.every: found 0.07; give a multiple of dt"),
    ({"record.voltages.every": "1 ms"}, "every: found '1 ms'; give a number, in units of tau_u"),
    ({"record.voltages.reduce": {"units": "mean"}}, "record.voltages.reduce: is not used"),
    ({"record.changes": {"what": ["mismatch"], "every": 0.1}}, "record.changes.every: is set"),
    ({"record.voltages.units": [40]}, "record.voltages.units: found [40]; the population has 12"),
    ({"record.voltages.of": "hiden"}, "unknown population 'hiden'; did you mean 'hidden'?"),
])
def test_mistakes_are_found_before_any_work(data, tmp_path, keys, named):
    with pytest.raises(ProtocolError) as error:
        run(data / "tiny.toml", out=tmp_path / "x.h5", progress=False, keys=keys)
    assert named in str(error.value)
    assert not (tmp_path / "x.h5").exists()
