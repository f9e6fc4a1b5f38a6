"""Brian2 runs the rate equations from their text: the paper's steady state, the rate engine's path.

The rate engine's options of discretisation are dropped here: forward Euler, delayed transmission,
control read at the old time, which is a first-order discretisation of the same equations.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import brian2 as b2
import h5py
import numpy as np
import pytest

from dfc_neuro.brian import controlled_trajectory, device
from dfc_neuro.brian.build import RECORDS, build
from dfc_neuro.brian.rate_level import dense, one_to_one
from dfc_neuro.brian.scheme import Scheme
from dfc_neuro.errors import EngineError, NumericalError
from dfc_neuro.files import load
from dfc_neuro.files.load import validate
from dfc_neuro.methods import dfc_ss
from dfc_neuro.methods._step import Minibatch
from dfc_neuro.rates.compile import compile_rule
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Network, forward
from dfc_neuro.rates.nonlinearities import NONLINEARITIES
from dfc_neuro.rates.simulate import simulate
from dfc_neuro.verify import read_case


@pytest.fixture(scope="module")
def reference(repository):
    with h5py.File(repository / "tests/data/dfc_reference_thin.h5") as file:
        yield file


def changed(model, **tables):
    table = dict(model.source)
    for name, entries in tables.items():
        table[name] = {**table.get(name, {}), **entries}
    return validate(table, model.path, model.label)


def models(case, cell=None):
    """The cells and the controller of a case, one second being tau_u."""
    control = case.control
    times = {"tau_v": f"{control.tau!r} second"}
    if control.tau_A:
        times["tau_A"] = f"{control.tau_A!r} second"
    cell = cell or load("pyramidal_rate_slow" if control.tau_A else "pyramidal_rate", "cell")
    cells = [changed(cell, parameters=times, functions={"phi(x)": NONLINEARITIES[phi].text[0]})
             for phi in case.net.nonlinearities]
    constants = {"tau_u": "1 second", "k_p": control.k_p, "alpha": control.alpha}
    return cells, changed(load("pi_leaky", "controller"), parameters=constants)


def test_settles_at_the_analytic_steady_state(reference):
    group = reference["linear_net"]
    case = read_case(group, "linear_net")
    steps = 1500
    path = controlled_trajectory(case.net, case.x, group["output_target"][:], *models(case),
                                 dt=0.1, steps=steps, every=steps - 1, backend="numpy")
    for i in (1, 2):
        np.testing.assert_allclose(path[f"v_soma{i}"][-1], group[f"ssa/v{i}"], atol=1e-10)
        np.testing.assert_allclose(path[f"r{i}"][-1], group[f"ssa/r{i}"], atol=1e-10)
    np.testing.assert_allclose(path["u"][-1], group["ssa/u"], atol=1e-10)


@pytest.mark.parametrize("name", ["regression_pi", "regression_integral_delay"])
def test_path_of_the_rate_engine_at_first_order(reference, name):
    group = reference[name]
    case = read_case(group, name)
    target, span = group["output_target"][:], 1.0
    fwd = forward(case.net, case.x)
    differences = []
    for dt in case.control.dt * np.array([1, 1 / 2, 1 / 4, 1 / 8]):
        steps = round(span / dt) + 1
        control = replace(case.control, dt=dt, steps=steps, transmission="delayed",
                          proactive=False, instant_system=False, integrator="euler")
        euler = simulate(case.net, control, fwd, target - fwd.r[-1], record_every=1, threads=1)
        path = controlled_trajectory(case.net, case.x, target, *models(case), dt=dt, steps=steps,
                                     backend="numpy")
        differences.append(max(np.abs(path[f"v_soma{i}"] - v).max()
                               for i, v in enumerate(euler.trajectory.v_soma, 1)))
    slope = np.polyfit(np.log([1, 1 / 2, 1 / 4, 1 / 8]), np.log(differences), 1)[0]
    assert 0.9 < slope < 1.1
    assert differences[-1] < 2e-3


def test_all_that_is_recorded_belongs_to_one_instant(reference):
    group = reference["regression_pi"]
    case = read_case(group, "regression_pi")
    target = group["output_target"][:]
    path = controlled_trajectory(case.net, case.x, target, *models(case), dt=0.02, steps=40,
                                 backend="numpy")
    below = case.x
    for i, (W, b, Q) in enumerate(zip(case.net.W, case.net.b, case.net.Q, strict=True), 1):
        np.testing.assert_allclose(path[f"v_basal{i}"], np.broadcast_to(
            below @ W.T + b, path[f"v_basal{i}"].shape), atol=1e-14)
        np.testing.assert_allclose(path[f"v_apical{i}"], path["u"] @ Q.T, atol=1e-14)
        below = path[f"r{i}"]
    error = target - path["r3"]
    assert np.allclose(path["u"][0], case.control.k_p * error[0], atol=1e-15)


def test_rule_text_learns_what_its_formula_says(reference):
    group = reference["regression_pi"]
    case = read_case(group, "regression_pi")
    cells, controller = models(case)
    sizes = {"input": 6, "hidden": 8, "control": 7}
    link = replace(dense("W", "input", "rate", "hidden", "basal", case.net.W[0]),
                   rule=load("dfc_forward", "rule"), bias=True)
    drive = dense("Q", "control", "u", "hidden", "apical", case.net.W[1].T)
    scheme = Scheme({"hidden": cells[0]}, {"control": controller}, {"input": "rate"},
                    sizes, (one_to_one("zz", "control", "target", "control", "y", 7), link, drive))
    dt, steps, B = 0.01, 60, len(case.x)
    built = build(scheme, replicas=B, dt=dt, method="euler")
    built.array("input", "rate")[:] = case.x.ravel()
    built.array("control", "target")[:] = 0.1
    built.array("control", "u_int")[:] = np.linspace(-0.3, 0.3, 7 * B)
    monitor = b2.StateMonitor(built.groups["hidden"], ["rate", "prediction"], record=True,
                              clock=built.clock, when="groups", order=RECORDS)
    built.extra.append(monitor)
    with device.code("numpy"):
        built.network().run(steps * dt * b2.second, namespace={})
    mismatch = (np.array(monitor.rate) - np.array(monitor.prediction)).reshape(B, 8, steps)
    expected = 2.0 * dt * mismatch.sum(axis=2)[:, :, None] * case.x[:, None, :]
    w = built.synapses["W"].variables["w"].get_value().reshape(B, 8, 6)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(w - case.net.W[0], expected, atol=1e-14)
    b = built.array("hidden", "b").reshape(B, 8)
    np.testing.assert_allclose(b, 2.0 * dt * mismatch.sum(axis=2), atol=1e-14)


def test_a_rule_that_is_no_sum_of_products_settles_where_the_rate_engine_does():
    """Activity and weights settle together; the rate engine reads the rule at the last state."""
    rng = np.random.default_rng(4)
    shapes = [(4, 3), (2, 4)]
    net = Network([rng.normal(size=s) for s in shapes], [rng.normal(size=4), rng.normal(size=2)],
                  [0.3 * rng.normal(size=(4, 2)), np.eye(2)], ("tanh", "tanh"))
    x, target = rng.normal(size=(1, 3)), rng.uniform(-0.5, 0.5, (1, 2))
    table = {"kind": "rule", "summary": "of the test", "parameters": {"eta": "1 Hz"},
             "reads": {"post": {"rate": "1", "prediction": "1"}, "pre": {"rate": "1"}},
             "synapse": "dw/dt = eta*(tanh(rate_post*rate_pre - w*prediction_post) - w) : 1"}
    rule = validate(table, Path("mine.toml"), "mine.toml")
    control = Control(alpha=0.1, k_p=1.0, dt=0.05, steps=1500, tau=0.2)

    kernel = compile_rule(rule.synapse, None, {"eta": 1.0}, "mine.toml")
    assert kernel.by_synapse
    own, largest, passes = net.astype(np.float64), 1.0, 0
    while largest > 1e-13 and passes < 300:
        fwd = forward(own, x)
        step = dfc_ss.update(Minibatch(own, fwd, target - fwd.r[-1], 1.0, control, kernel)).update
        for w, dw in zip(own.W, step.dW, strict=True):
            w += 0.5 * dw
        largest, passes = max(np.abs(dw).max() for dw in step.dW), passes + 1

    cells, controller = models(SimpleNamespace(control=control, net=net))
    links = [replace(dense("W1", "input", "rate", "hidden", "basal", net.W[0]), rule=rule),
             replace(dense("W2", "hidden", "rate", "output", "basal", net.W[1]), rule=rule),
             one_to_one("read", "output", "rate", "control", "y", 2),
             dense("Q1", "control", "u", "hidden", "apical", net.Q[0]),
             dense("Q2", "control", "u", "output", "apical", net.Q[1])]
    scheme = Scheme(dict(zip(("hidden", "output"), cells, strict=True)), {"control": controller},
                    {"input": "rate"}, {"input": 3, "hidden": 4, "output": 2, "control": 2},
                    tuple(links))
    built = build(scheme, replicas=1, dt=control.dt, method="euler")
    built.array("input", "rate")[:] = x.ravel()
    built.array("control", "target")[:] = target.ravel()
    for layer, b in zip(("hidden", "output"), net.b, strict=True):
        built.array(layer, "b")[:] = b
    with device.code("numpy"):
        built.network().run(80 * b2.second, namespace={})
    for i, w in enumerate(own.W):
        found = built.synapses[f"W{i + 1}"].variables["w"].get_value().reshape(w.shape)
        np.testing.assert_allclose(found, w, rtol=0, atol=1e-9)
        assert np.abs(w - net.W[i]).max() > 0.1 and np.abs(w).max() > 0.1


def test_a_model_with_one_term_changed_runs(reference):
    """A leak beside the soma's own halves the displacement: v = (v_basal + v_apical)/2."""
    group = reference["linear_net"]
    case = read_case(group, "linear_net")
    cell = load("pyramidal_rate", "cell")
    text = cell.equations.replace("- v_soma)/tau_v", "- 2*v_soma)/tau_v")
    assert text != cell.equations
    edited = validate({**cell.source, "equations": text}, cell.path, "edited.toml")
    cells, controller = models(case, edited)
    path = controlled_trajectory(case.net, case.x, group["output_target"][:], cells, controller,
                                 dt=0.1, steps=3000, every=2999, backend="numpy")
    for i in (1, 2):
        soma, inputs = path[f"v_soma{i}"][-1], path[f"v_basal{i}"][-1] + path[f"v_apical{i}"][-1]
        np.testing.assert_allclose(soma, inputs / 2, atol=1e-10)
    error = group["output_target"][:] - path["r2"][-1]
    np.testing.assert_allclose(error, case.control.alpha * path["u"][-1], atol=1e-10)


def test_an_unstable_network_stops_with_layer_and_time(reference):
    case = read_case(reference["linear_net_unstable"], "linear_net_unstable")
    target = reference["linear_net_unstable/output_target"][:]
    with pytest.raises(NumericalError, match=r"v_soma .*'layer\d'.*passed 50 between .* tau_u"):
        controlled_trajectory(case.net, case.x, target, *models(case), dt=0.1, steps=3000,
                              bound=50.0, backend="numpy")


def test_exact_integration_is_refused(reference):
    case = read_case(reference["linear_net"], "linear_net")
    with pytest.raises(EngineError, match=r"'exact' is not offered.*rk4"):
        controlled_trajectory(case.net, case.x, case.x[:, :3], *models(case), dt=0.1, steps=2,
                              method="exact")


def test_skip_projections_settle_where_the_rate_engine_does():
    """Input to output and hidden to output: a second later, both engines are at one state."""
    rng = np.random.default_rng(6)
    sizes, skips = (4, 5, 4, 2), ((2, 0), (2, 1), (1, 0))
    W = [rng.normal(size=(sizes[i + 1], sizes[j])) / np.sqrt(sizes[j])
         for i, j in [(0, 0), (1, 1), (2, 2), *skips]]
    net = Network(W, [0.2 * rng.normal(size=n) for n in sizes[1:]],
                  [W[1].T @ W[2].T + W[4].T, W[2].T, np.eye(2)], ("tanh", "tanh", "linear"), skips)
    control = Control(alpha=0.05, k_p=1.0, dt=0.05, steps=3000, tau=0.2)
    x = rng.normal(size=(3, 4))
    fwd = forward(net, x)
    delta = 0.3 * rng.normal(size=(3, 2))
    end = simulate(net, control, fwd, delta, threads=1)
    path = controlled_trajectory(net, x, fwd.r[-1] + delta,
                                 *models(SimpleNamespace(control=control, net=net)), dt=0.05,
                                 steps=3000, every=2999, backend="numpy")
    np.testing.assert_allclose(path["u"][-1], end.u, atol=1e-10)
    for i in range(3):
        np.testing.assert_allclose(path[f"v_soma{i + 1}"][-1], fwd.v[i] + end.x[i], atol=1e-10)
        np.testing.assert_allclose(path[f"v_basal{i + 1}"][-1], fwd.v[i] + end.basal[i],
                                   atol=1e-10)
    assert np.abs(end.x[0]).min() > 1e-3
