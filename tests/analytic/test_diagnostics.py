"""Diagnostics against closed forms and against plain, sample-by-sample constructions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import null_space

from dfc_neuro import registry
from dfc_neuro.diagnostics import _algebra, _references, condition_2, convergence, nullspace
from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.errors import InputError
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.convergence import classify
from dfc_neuro.rates.network import Network, Update, backprop, forward, jacobian

SIZES = st.lists(st.integers(1, 5), min_size=2, max_size=5)
HIDDEN = st.sampled_from(["tanh", "sigmoid", "linear", "leaky_relu"])
CONTROL = Control(alpha=0.1, k_p=1.5, dt=0.02, steps=10, tau=0.2)


def network(sizes, hidden="tanh", output="linear", seed=0):
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    return Network([rng.normal(size=s) / np.sqrt(s[1]) for s in shapes],
                   [0.3 * rng.normal(size=n) for n, _ in shapes],
                   [rng.normal(size=(n, sizes[-1])) for n, _ in shapes],
                   (hidden,) * (len(shapes) - 1) + (output,))


def batch(net, B=4, seed=1):
    rng = np.random.default_rng(seed)
    return forward(net, rng.normal(size=(B, net.sizes[0]))), rng.normal(size=(B, net.sizes[-1]))


def whole(J):
    return np.concatenate(J, axis=2)


def weight_jacobians(net, x, step=1e-6):
    """d r_L / d(all W and b) of each sample, by central differences: (B, n_L, parameters)."""
    columns = []
    for parameter in (*net.W, *net.b):
        for i in np.ndindex(parameter.shape):
            keep, ends = parameter[i], []
            for sign in (1.0, -1.0):
                parameter[i] = keep + sign * step
                ends.append(forward(net, x).r[-1])
            parameter[i] = keep
            columns.append((ends[0] - ends[1]) / (2.0 * step))
    return np.stack(columns, axis=2)


def test_angles_of_known_vectors():
    a = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    b = np.array([[1.0, 1.0], [-3.0, 0.0], [0.0, 5.0], [1.0, 1e-9], [0.0, 0.0]])
    found = _algebra.angle(a, b)
    np.testing.assert_allclose(found[:3], [45.0, 180.0, 90.0], rtol=1e-14)
    np.testing.assert_allclose(found[3], np.degrees(1e-9), rtol=1e-6)
    assert np.isnan(found[4])


def test_update_angles_are_per_tensor_and_whole():
    one = Update([np.eye(2)], [np.array([1.0, 0.0])])
    other = Update([np.eye(2)], [np.array([0.0, 1.0])])
    found = _algebra.update_angles(["W1"], one, other)
    assert found["W1"] == 0.0
    assert found["b1"] == pytest.approx(90.0)
    assert found["network"] == pytest.approx(np.degrees(np.arccos(2.0 / 3.0)))


@given(SIZES, HIDDEN, st.integers(0, 99), st.sampled_from([0.0, 0.01, 3.0]))
def test_minimum_norm_targets_sample_by_sample(sizes, hidden, seed, gamma):
    net = network(sizes, hidden, seed=seed)
    fwd, delta = batch(net)
    J = jacobian(net, fwd)
    found = np.concatenate(_references.minimum_norm_targets(J, delta, gamma), axis=1)
    for J_b, delta_b, found_b in zip(whole(J), delta, found, strict=True):
        expected = (np.linalg.pinv(J_b) @ delta_b if gamma == 0.0 else
                    J_b.T @ np.linalg.inv(J_b @ J_b.T + gamma * np.eye(len(J_b))) @ delta_b)
        np.testing.assert_allclose(found_b, expected, rtol=1e-9, atol=1e-11)


def test_minimum_norm_is_the_shortest_step_that_reaches_the_target():
    net = network([4, 6, 3])
    fwd, delta = batch(net)
    J = whole(jacobian(net, fwd))
    found = np.concatenate(
        _references.minimum_norm_targets(jacobian(net, fwd), delta, 0.0), axis=1)
    np.testing.assert_allclose((J @ found[:, :, None])[:, :, 0], delta, rtol=1e-12)
    for J_b, found_b in zip(J, found, strict=True):
        assert np.abs(null_space(J_b).T @ found_b).max() < 1e-14


def test_nonlinear_minimum_norm_of_one_layer():
    net = network([2, 3], output="tanh")
    fwd, delta = batch(net, B=1)
    step = delta / (1.0 - fwd.r[0] ** 2)
    expected = (np.tanh(fwd.v[0] + step) - fwd.r[0]).T @ fwd.x
    found = _references.minimum_norm(net, fwd, delta, nonlinear=True)
    np.testing.assert_allclose(found.dW[0], expected, rtol=1e-12)


def test_dead_output_unit_has_no_pseudoinverse_row():
    net = network([3, 4, 3], output="relu")
    net.b[-1][1] = -100.0
    fwd, delta = batch(net)
    J = jacobian(net, fwd)
    assert (whole(J)[:, 1] == 0.0).all()
    found = np.concatenate(_references.minimum_norm_targets(J, delta, 0.0), axis=1)
    expected = (np.linalg.pinv(whole(J)) @ delta[:, :, None])[:, :, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_gauss_newton_of_one_linear_layer():
    # dW = delta x^T / (|x|^2 + 1 + gamma): Sherman-Morrison of one sample
    net = network([3, 2])
    fwd, delta = batch(net, B=1)
    for gamma in (0.0, 0.7):
        size = (fwd.x**2).sum() + 1.0 + gamma
        found = _references.gauss_newton(net, fwd, delta, gamma)
        np.testing.assert_allclose(found.dW[0], delta.T @ fwd.x / size, rtol=1e-13)
        np.testing.assert_allclose(found.db[0], delta[0] / size, rtol=1e-13)


@pytest.mark.parametrize("gamma", [0.0, 0.01, 2.0])
@pytest.mark.parametrize("hidden", ["tanh", "sigmoid", "leaky_relu"])
def test_gauss_newton_by_finite_differences(hidden, gamma):
    net = network([3, 4, 3, 2], hidden)
    fwd, delta = batch(net, B=3)
    J_W = weight_jacobians(net, fwd.x)
    expected = np.zeros(J_W.shape[2])
    for J_b, delta_b in zip(J_W, delta, strict=True):
        expected += J_b.T @ np.linalg.solve(J_b @ J_b.T + gamma * np.eye(2), delta_b) / 3
    found = _references.gauss_newton(net, fwd, delta, gamma).flat()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_analytic_state_is_the_fixed_point_of_a_linear_network():
    net = network([3, 5, 2], "linear")
    fwd, delta = batch(net)
    state = _references.analytic_state(net, fwd, delta, 0.1)
    below = fwd.x
    for i in range(2):
        v = state.u @ net.Q[i].T + below @ net.W[i].T + net.b[i]
        np.testing.assert_allclose(state.v[i], v, rtol=1e-13)
        below = v
    # e = alpha u at rest
    np.testing.assert_allclose(fwd.r[-1] + delta - state.r[-1], 0.1 * state.u, atol=1e-12)


@given(SIZES, st.integers(0, 99))
def test_pseudoinverse_feedback_makes_ssa_the_minimum_norm_update(sizes, seed):
    net = network(sizes, seed=seed)
    fwd, delta = batch(net, B=1, seed=seed)
    pinv = np.linalg.pinv(whole(jacobian(net, fwd))[0])
    net.Q = np.split(pinv, np.cumsum(sizes[1:])[:-1])
    control = Control(alpha=0.0, k_p=0.0, dt=0.1, steps=2, tau=1.0)
    plain = _references.minimum_norm(net, fwd, delta)
    steady = _references.analytic_state(net, fwd, delta, 0.0)
    for found, expected in zip(steady.delta_v, _references.minimum_norm_targets(
            jacobian(net, fwd), delta, 0.0), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    state = Snapshot(net, fwd, delta, plain, control, nonlinear=False,
                     final={"v": fwd.v})
    assert registry.get("diagnostics", "angle_ssa", "test").measure(state)["network"] < 1e-5
    assert registry.get("diagnostics", "angle_mn", "test").measure(state)["network"] < 1e-6
    assert condition_2.measure(state) == pytest.approx(1.0, abs=1e-10)
    assert registry.get("diagnostics", "angle_q_pinv", "test").measure(state) < 1e-6


def test_condition_2_of_feedback_half_outside_the_row_space():
    # linear 1-layer: the row space is everything; two layers with W2 = 0: only layer 2 is in it
    net = network([2, 3, 2], "linear")
    net.W[1][:] = 0.0
    net.Q = [np.array([[3.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 4.0], [0.0, 0.0]])]
    fwd, delta = batch(net)
    assert condition_2.measure(Snapshot(net, fwd, delta)) == pytest.approx(0.8, abs=1e-14)


def test_condition_2_against_the_projection_matrix():
    net = network([5, 4, 6, 3], "sigmoid")
    fwd, delta = batch(net)
    J, Q = whole(jacobian(net, fwd)), np.concatenate(net.Q)
    ratios = [np.linalg.norm(J_b.T @ np.linalg.inv(J_b @ J_b.T) @ J_b @ Q) for J_b in J]
    expected = np.mean(ratios) / np.linalg.norm(Q)
    assert condition_2.measure(Snapshot(net, fwd, delta)) == pytest.approx(expected, rel=1e-12)


def test_angles_of_feedback_to_the_jacobian():
    net = network([3, 4, 2])
    fwd, delta = batch(net, B=1)
    J = whole(jacobian(net, fwd))[0]
    Q = np.concatenate(net.Q)
    jt = registry.get("diagnostics", "angle_q_jt", "test")
    pinv = registry.get("diagnostics", "angle_q_pinv", "test")

    def degrees(a, b):
        return np.degrees(np.arccos((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)))

    damped = J.T @ np.linalg.inv(J @ J.T + 0.5 * np.eye(2))
    state = Snapshot(net, fwd, delta, gamma=0.5)
    assert jt.measure(state) == pytest.approx(degrees(J.T, Q), rel=1e-12)
    assert pinv.measure(state) == pytest.approx(degrees(damped, Q), rel=1e-12)
    # a large damping turns the pseudoinverse into the transpose
    big = Snapshot(net, fwd, delta, gamma=1e12)
    assert pinv.measure(big) == pytest.approx(jt.measure(big), abs=1e-6)


def test_condition_1_repaired_and_as_published():
    net = network([1, 1, 1], "linear")
    net.W[0][:], net.b[0][:] = 3.0, 0.0
    fwd, delta = batch(net, B=1)
    fwd = forward(net, np.array([[2.0]]))  # norms 2 and 6: mean 4, deviations -2 and 2
    measure = registry.get("diagnostics", "condition_1", "test").measure
    assert measure(Snapshot(net, fwd, delta)) == pytest.approx(0.5, rel=1e-14)
    published = measure(Snapshot(net, fwd, delta, as_published=True))
    assert published == pytest.approx(1.0, rel=1e-14)


@given(SIZES, HIDDEN, st.integers(0, 99))
def test_condition_1_does_not_change_with_the_unit_of_rate(sizes, hidden, seed):
    net = network([*sizes, 2], hidden, seed=seed)
    fwd, delta = batch(net)
    scaled = forward(net, fwd.x)
    scaled.x = 7.0 * fwd.x
    scaled.r = [7.0 * r for r in fwd.r]
    measure = registry.get("diagnostics", "condition_1", "test").measure
    one = measure(Snapshot(net, fwd, delta))
    assert measure(Snapshot(net, scaled, delta)) == pytest.approx(one, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("shape", [(3, 4, 2), (2, 2, 4)])
def test_nullspace_ratio_against_an_explicit_jacobian(shape):
    net = network(shape)
    fwd, _ = batch(net, B=2)
    dW = np.random.default_rng(3).normal(size=net.W[0].shape)
    J = jacobian(net, fwd)[0]
    explicit = np.concatenate([np.kron(J[b], fwd.x[b]) for b in range(2)])
    expected = np.linalg.norm(null_space(explicit).T @ dW.ravel()) / np.linalg.norm(dW)
    assert nullspace.ratio(J, fwd.x, dW) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_backprop_has_no_part_in_the_nullspace():
    net = network([4, 6, 3])
    fwd, delta = batch(net, B=2)
    state = Snapshot(net, fwd, delta, backprop(net, fwd, delta))
    assert max(nullspace.measure(state).values()) < 1e-10
    angles = registry.get("diagnostics", "angle_bp", "test").measure(state)
    assert set(angles) == {"network", "W1", "b1", "W2", "b2"}
    assert max(angles.values()) == 0.0


def test_gauss_newton_has_angle_zero_to_itself_at_any_scale():
    net = network([4, 6, 3])
    fwd, delta = batch(net)
    update = _references.gauss_newton(net, fwd, 5.0 * delta, 0.1)
    state = Snapshot(net, fwd, delta, update, gamma=0.1)
    found = registry.get("diagnostics", "angle_gn", "test").measure(state)
    assert max(found.values()) < 1e-10


def test_distance_to_the_analytic_state():
    net = network([4, 6, 3])
    fwd, delta = batch(net)
    steady = _references.analytic_state(net, fwd, delta, CONTROL.alpha).r[-1]
    measure = registry.get("diagnostics", "ssa_distance", "test").measure
    for share in (0.0, 0.25, 1.0):
        r_L = steady + share * (fwd.r[-1] - steady)
        state = Snapshot(net, fwd, delta, control=CONTROL, final={"r_L": r_L})
        assert measure(state) == pytest.approx(share, abs=1e-13)


def test_convergence_counts_each_kind_once():
    free = np.ones((4, 2))
    delta = np.full((4, 2), 0.1)
    u = np.full((4, 2), 0.01)
    left = np.array([1e-3, 0.05, 5.0, np.nan])[:, None]  # the error at the end, alpha u = 1e-3
    r_L = free + delta - left
    converged, diverged = classify(delta - (r_L - free), u, free, delta, 0.1)
    assert converged.tolist() == [True, False, False, False]
    assert diverged.tolist() == [False, False, True, True]
    net = network([3, 2])
    fwd = forward(net, np.ones((4, 3)))
    fwd.r[-1] = free
    state = Snapshot(net, fwd, delta, control=CONTROL, final={"r_L": r_L, "u": u})
    assert convergence.measure(state) == {"converged": 1.0, "diverged": 2.0, "neither": 1.0}


def test_a_large_error_that_the_control_holds_is_not_converged():
    # d is 0, but more than a quarter of the error is left
    free, delta, u = np.ones((1, 2)), np.full((1, 2), 0.1), np.full((1, 2), 0.05)
    converged, diverged = classify(u, u, free, delta, 1.0)
    assert not converged[0] and not diverged[0]


@pytest.mark.parametrize("name", ["angle_bp", "angle_gn", "angle_mn", "angle_ssa", "condition_1",
                                  "condition_2", "angle_q_jt", "angle_q_pinv", "stability",
                                  "ssa_distance", "convergence", "nullspace"])
def test_float32_is_measured_in_float64(name):
    net = network([4, 5, 3]).astype(np.float32)
    wide = net.astype(np.float64)
    x = np.random.default_rng(5).normal(size=(4, 4)).astype(np.float32)
    delta = np.random.default_rng(6).normal(size=(4, 3)).astype(np.float32)
    fwd, wide_fwd = forward(net, x), forward(wide, x.astype(np.float64))
    update = backprop(net, fwd, delta)
    v = [a + np.float32(0.1) for a in fwd.v]
    final = {"r_L": fwd.r[-1] + delta, "u": delta, "v": v}
    measure = registry.get("diagnostics", name, "test").measure
    found = measure(Snapshot(net, fwd, delta, update, CONTROL, 0.1, final))
    expected = measure(Snapshot(wide, wide_fwd, delta.astype(float), update, CONTROL, 0.1, final))
    assert found == expected
    assert np.isfinite(list(found.values()) if isinstance(found, dict) else found).all()


@pytest.mark.parametrize(("name", "message"), [
    ("angle_gn", "needs an update of W and b"),
    ("angle_q_jt", "needs feedback weights"),
    ("stability", "needs a method with a controller"),
    ("ssa_distance", "needs a method with a controller"),
])
def test_what_a_diagnostic_lacks_is_named(name, message):
    net = network([4, 5, 3])
    net.Q = []
    fwd, delta = batch(net)
    with pytest.raises(InputError, match=f"diagnostic '{name}': {message}"):
        registry.get("diagnostics", name, "test").measure(Snapshot(net, fwd, delta))


def test_missing_final_state_is_named():
    net = network([4, 5, 3])
    fwd, delta = batch(net)
    with pytest.raises(InputError, match=r"needs the last controlled state \(u\)"):
        convergence.measure(Snapshot(net, fwd, delta, control=CONTROL, final={"r_L": delta}))
