"""Stability matrices against the linearised equations of motion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfc_neuro.diagnostics import _stability, stability
from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Network, forward

PHI = {"tanh": np.tanh, "linear": lambda v: v, "sigmoid": lambda v: 1.0 / (1.0 + np.exp(-v))}


def network(sizes, hidden, output, seed):
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    return Network([rng.normal(size=s) / np.sqrt(s[1]) for s in shapes],
                   [0.3 * rng.normal(size=n) for n, _ in shapes],
                   [rng.normal(size=(n, sizes[-1])) for n, _ in shapes],
                   (hidden,) * (len(shapes) - 1) + (output,))


def motion(net, x, state, target, alpha, tau):
    """d(v, u)/dt of tau dv/dt = -v + W r + b + Q u, du/dt = e - alpha u."""
    v = np.split(state, np.cumsum(net.sizes[1:]))
    u = v.pop()
    below, change = x, []
    for i, (W, b, Q) in enumerate(zip(net.W, net.b, net.Q, strict=True)):
        change.append((-v[i] + W @ below + b + Q @ u) / tau)
        below = PHI[net.nonlinearities[i]](v[i])
    return np.concatenate([*change, target - below - alpha * u])


def linearised(net, x, at, alpha, tau):
    """The matrix of the integral-control motion at v = `at`, u = 0, by complex steps."""
    size = len(at) + net.sizes[-1]
    start = np.concatenate([at, np.zeros(net.sizes[-1])]).astype(complex)
    target = np.zeros(net.sizes[-1])
    columns = []
    for i in range(size):
        moved = start.copy()
        moved[i] += 1e-30j
        columns.append(motion(net, x, moved, target, alpha, tau).imag / 1e-30)
    return np.stack(columns, axis=1)


def proportional(A, net, k_p, slope_L):
    """Add k_p de/dt, e = r_L* - r_L, to the control's row of a linearised motion."""
    N, n_L = sum(net.sizes[1:]), net.sizes[-1]
    A = A.copy()
    A[N:] -= k_p * slope_L[:, None] * A[N - n_L:N]
    return A


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.sampled_from(sorted(PHI)),
       st.sampled_from(sorted(PHI)), st.integers(0, 99))
def test_matrices_are_the_linearised_motion(sizes, hidden, output, seed):
    net = network(sizes, hidden, output, seed)
    rng = np.random.default_rng(seed)
    fwd = forward(net, rng.normal(size=(2, sizes[0])))
    alpha, k_p, tau = 0.3, 1.7, 0.4
    found = _stability.matrices(net, fwd, alpha=alpha, k_p=k_p, tau=tau)
    for sample in range(2):
        at = np.concatenate([v[sample] for v in fwd.v])
        A = linearised(net, fwd.x[sample], at, alpha, tau)
        np.testing.assert_allclose(found["A_tildeI"][sample], A, rtol=1e-12, atol=1e-12)
        slope = PHI[output](fwd.v[-1][sample] + 1e-30j).imag / 1e-30
        with_gain = proportional(A, net, k_p, slope)
        # A_PI and A_I are similar to these: equal characteristic polynomials at points off the axis
        for z in (1.3 + 0.7j, -0.4 + 2.0j, 5.0):
            shift = z * np.eye(len(A))
            np.testing.assert_allclose(np.linalg.det(shift - found["A_PI"][sample]),
                                       np.linalg.det(shift - with_gain), rtol=1e-8)
            np.testing.assert_allclose(np.linalg.det(shift - found["A_I"][sample]),
                                       np.linalg.det(shift - A), rtol=1e-8)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.sampled_from(sorted(PHI)),
       st.floats(0.0, 1.0), st.floats(0.0, 3.0), st.floats(0.05, 2.0), st.integers(0, 99))
def test_small_equivalents_have_the_same_leading_eigenvalue(sizes, hidden, alpha, k_p, tau, seed):
    net = network(sizes, hidden, "linear", seed)
    fwd = forward(net, np.random.default_rng(seed).normal(size=(3, sizes[0])))
    small = _stability.leading_eigenvalues(net, fwd, alpha=alpha, k_p=k_p, tau=tau)
    direct = _stability.matrices(net, fwd, alpha=alpha, k_p=k_p, tau=tau)
    assert list(small) == list(direct)
    for name, A in direct.items():
        # defective eigenvalues move by a root of the rounding error
        np.testing.assert_allclose(small[name], _stability.leading(A), rtol=2e-3, atol=2e-3)


def test_small_equivalents_of_a_wide_network_to_rounding():
    net = network([20, 30, 25, 5], "tanh", "linear", 3)
    net.Q = [0.1 * q for q in net.Q[:-1]] + [np.eye(5)]
    fwd = forward(net, np.random.default_rng(4).normal(size=(2, 20)))
    small = _stability.leading_eigenvalues(net, fwd, alpha=1e-3, k_p=1.5, tau=0.2)
    direct = _stability.matrices(net, fwd, alpha=1e-3, k_p=1.5, tau=0.2)
    for name, A in direct.items():
        np.testing.assert_allclose(small[name], _stability.leading(A), rtol=1e-9)


def test_one_linear_unit_has_the_roots_of_a_quadratic():
    # tau v' = -v + q u, u' = -v - k_p v' - alpha u
    q, alpha, k_p, tau = 2.0, 0.1, 1.5, 0.5
    net = Network([np.ones((1, 1))], [np.zeros(1)], [np.array([[q]])], ("linear",))
    fwd = forward(net, np.ones((1, 1)))
    roots = {
        "A_I": np.roots([tau, 1.0 + alpha * tau, alpha + q]).real.max(),
        "A_PI": np.roots([tau, 1.0 + alpha * tau + k_p * q, alpha + q]).real.max(),
        "A_instI": -(q + alpha),
    }
    roots["A_tildeI"] = roots["A_I"]
    found = _stability.leading_eigenvalues(net, fwd, alpha=alpha, k_p=k_p, tau=tau)
    for name, root in roots.items():
        assert found[name][0] == pytest.approx(root, rel=1e-12), name


def test_measure_reads_the_controlled_state_and_raises_tau_to_the_step():
    net = network([4, 6, 3], "tanh", "linear", 1)
    fwd = forward(net, np.random.default_rng(2).normal(size=(3, 4)))
    v = [a + 0.5 for a in fwd.v]
    moved = forward(net, fwd.x)
    moved.v, moved.r = v, [np.tanh(v[0]), v[1]]
    control = Control(alpha=0.1, k_p=1.0, dt=0.3, steps=5, tau=0.2)
    expected = _stability.leading_eigenvalues(net, moved, alpha=0.1, k_p=1.0, tau=0.3)
    found = stability.measure(Snapshot(net, fwd, fwd.r[-1], control=control, final={"v": v}))
    for name, values in expected.items():
        assert found[name] == pytest.approx(values.mean(), rel=1e-13)
        assert found[f"{name}_sd"] == pytest.approx(values.std(), rel=1e-10, abs=1e-14)
    at_rest = stability.measure(Snapshot(net, fwd, fwd.r[-1], control=control))
    assert at_rest["A_PI"] != found["A_PI"]
