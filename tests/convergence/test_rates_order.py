"""Euler steps approach the exact solution of the controlled network at first order in dt, fast
ones at second."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from dfc_neuro.rates.compile import compile_rule
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Network, forward
from dfc_neuro.rates.simulate import simulate

SIZES, BATCH, SPAN = (5, 6, 4, 3), 3, 1.6
STEPS = np.array([0.008, 0.004, 0.002, 0.001])
CONSTANTS = {"alpha": 0.05, "k_p": 1.2, "tau": 0.25}
ORDER = {"euler": 1, "fast": 2}
RULE = compile_rule("dw/dt = 2*mismatch_post*rate_pre : 1", "db/dt = 2*mismatch_post : 1", {})
OPTIONS = [{}, {"proactive": True}, {"transmission": "delayed"}, {"tau_A": 0.15},
           {"tau_A": 0.15, "transmission": "delayed", "proactive": True}, {"k_p": 0.0}]


def network(nonlinearity):
    rng = np.random.default_rng(5)
    W = [rng.normal(0, np.sqrt(2 / (n + m)), (n, m))
         for n, m in zip(SIZES[1:], SIZES, strict=False)]
    Q = [(W[2] @ W[1]).T, W[2].T, np.eye(3)]
    b = [rng.normal(0, 0.2, n) for n in SIZES[1:]]
    net = Network(W, b, Q, (nonlinearity, nonlinearity, "linear"))
    return net, rng.normal(size=(BATCH, 5)), 0.5 * rng.normal(size=(BATCH, 3))


def slope_of(values, steps=STEPS):
    return np.polyfit(np.log(steps), np.log(values), 1)[0]


def exact_linear(net, delta, times, alpha, k_p, tau, tau_A=0.0, **_):
    """Deviations of all somata and the integral state: z' = M z + c by the matrix exponential.

    tau x_i' = -x_i + W_i x_{i-1} + a_i, u = u_int + k_p e, u_int' = e - alpha u, e = delta - x_L,
    a_i = Q_i u, or tau_A a_i' = Q_i u - a_i.
    """
    ends = np.cumsum((0, *SIZES[1:]))
    n, n_L = ends[-1], SIZES[-1]
    Q = np.concatenate(net.Q)
    read = np.zeros((n_L, n))  # x_L of x
    read[:, ends[-2]:] = np.eye(n_L)
    S = -np.eye(n)
    for i in (1, 2):
        S[ends[i]:ends[i + 1], ends[i - 1]:ends[i]] = net.W[i]
    slow = bool(tau_A)
    N = n + (n if slow else 0) + n_L
    M, c = np.zeros((N, N)), np.zeros((N, n_L))  # c multiplies delta
    x, u = slice(0, n), slice(N - n_L, N)
    M[x, x] = S / tau
    drive_x, drive_u, drive_c = -k_p * Q @ read, Q, k_p * Q
    if slow:
        a = slice(n, 2 * n)
        M[x, a] = np.eye(n) / tau
        M[a, a] = -np.eye(n) / tau_A
        M[a, x], M[a, u], c[a] = drive_x / tau_A, drive_u / tau_A, drive_c / tau_A
    else:
        M[x, x] += drive_x / tau
        M[x, u], c[x] = drive_u / tau, drive_c / tau
    M[u, x] = -(1 - alpha * k_p) * read
    M[u, u] = -alpha * np.eye(n_L)
    c[u] = (1 - alpha * k_p) * np.eye(n_L)
    out = []
    for k in range(BATCH):
        wide = np.block([[M, (c @ delta[k])[:, None]], [np.zeros((1, N + 1))]])
        out.append([(expm(wide * t)[:N, N]) for t in times])
    z = np.array(out).transpose(1, 0, 2)
    return z[:, :, x], z[:, :, u]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize("integrator", ["euler", "fast"])
def test_linear_network(integrator, options):
    net, x, delta = network("linear")
    constants = CONSTANTS | options
    times = np.array([0.4, 0.8, SPAN])
    exact, u_int = exact_linear(net, delta, times, **constants)
    u_exact = u_int + constants["k_p"] * (delta - exact[:, :, -3:])
    soma, control = [], []
    for dt in STEPS:
        c = Control(dt=dt, steps=round(SPAN / dt) + 1, integrator=integrator, **constants)
        fwd = forward(net, x)
        path = simulate(net, c, fwd, delta, record_every=1, threads=1).trajectory
        at = np.rint(times / dt).astype(int)
        np.testing.assert_allclose(path.time_step[at] * dt, times)
        found = np.concatenate([v[at] - free for v, free in
                                zip(path.v_soma, fwd.v, strict=True)], axis=2)
        soma.append(np.abs(found - exact).max())
        control.append(np.abs(path.u[at] - u_exact).max())
    assert abs(slope_of(soma) - ORDER[integrator]) < 0.1
    assert abs(slope_of(control) - ORDER[integrator]) < 0.1
    assert soma[-1] < 0.02 * np.abs(exact).max()


@pytest.mark.parametrize("options", [{}, {"tau_A": 0.15}], ids=["plain", "tau_A"])
@pytest.mark.parametrize("integrator", ["euler", "fast"])
def test_time_average_of_a_rule(integrator, options):
    """T states of dt are the time T dt; its mean by Gauss-Legendre quadrature of exponentials."""
    net, x, delta = network("linear")
    nodes, weights = np.polynomial.legendre.leggauss(30)
    path, _ = exact_linear(net, delta, SPAN / 2 * (1 + nodes), **CONSTANTS | options)
    mean = np.split(np.einsum("t,tbi->i", weights, path) / BATCH, np.cumsum(SIZES[1:])[:-1])
    below = [np.zeros(5), mean[0], mean[1]]  # the mean of 2 (x_i - W_i x_{i-1}) is the sum: 2/2
    exact = np.concatenate([m - w @ b for m, w, b in zip(mean, net.W, below, strict=True)])
    distances = []
    for dt in STEPS:
        c = Control(dt=dt, steps=round(SPAN / dt), integrator=integrator, **CONSTANTS | options)
        found = simulate(net, c, forward(net, x), delta, rule=RULE, threads=1)
        distances.append(np.abs(np.concatenate(found.db) - exact).max())
    assert abs(slope_of(distances) - ORDER[integrator]) < 0.1


@pytest.mark.parametrize("options", [
    {}, {"proactive": False}, {"tau_A": 0.05}, {"k_p": 0.0}, {"alpha": 2.06e-4, "steps": 300}],
    ids=lambda o: "-".join(o) or "published")
def test_a_third_of_the_steps_of_the_published_constants(options):
    """Errors of the update, constants of MNIST (the last: of Fashion-MNIST).

    The exact update is Richardson's extrapolation of Euler steps.
    """
    rng = np.random.default_rng(2)
    sizes = (30, 24, 24, 10)
    W = [rng.normal(0, np.sqrt(2 / (n + m)), (n, m))
         for n, m in zip(sizes[1:], sizes, strict=False)]
    Q = [(W[2] @ W[1]).T, W[2].T, np.eye(10)]
    net = Network(W, [np.zeros(n) for n in sizes[1:]], Q, ("tanh", "tanh", "linear"))
    fwd = forward(net, rng.normal(size=(8, 30)))
    delta = 6e-4 * rng.uniform(-1, 1, (8, 10))
    c = Control(**{"alpha": 1.389e-3, "k_p": 2.0, "dt": 0.02, "steps": 1000, "tau": 0.2,
                   "proactive": True} | options)

    def update(times, integrator="euler"):
        steps = int(times * c.steps)
        own = replace(c, dt=c.dt * c.steps / steps, steps=steps, integrator=integrator)
        return simulate(net, own, fwd, delta, rule=RULE).update.flat()

    euler, half = update(1), update(2)
    exact = 2 * half - euler
    error = np.linalg.norm(euler - exact)
    for times in (1 / 3, 1 / 5):
        assert np.linalg.norm(update(times, "fast") - exact) < 0.2 * error


@pytest.mark.parametrize("integrator", ["euler", "fast"])
def test_tanh_network(integrator):
    """Against a Runge-Kutta solution of order eight with tolerance 1e-12."""
    net, x, delta = network("tanh")
    alpha, k_p, tau = (CONSTANTS[name] for name in ("alpha", "k_p", "tau"))
    fwd = forward(net, x)
    target, edges = fwd.r[-1] + delta, np.cumsum(SIZES[1:])

    def motion(_, z):
        *v, u_int = np.split(z.reshape(BATCH, -1), edges, axis=1)
        r = [np.tanh(v[0]), np.tanh(v[1]), v[2]]
        e = target - r[2]
        u = u_int + k_p * e
        change = [(-v[i] + below @ net.W[i].T + net.b[i] + u @ net.Q[i].T) / tau
                  for i, below in enumerate((x, r[0], r[1]))]
        return np.concatenate([*change, e - alpha * u], axis=1).ravel()

    start = np.concatenate([*fwd.v, np.zeros((BATCH, 3))], axis=1).ravel()
    end = solve_ivp(motion, (0, SPAN), start, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    *v, u_int = np.split(end.reshape(BATCH, -1), edges, axis=1)
    u, distances, controls = u_int + k_p * (target - v[2]), [], []
    for dt in STEPS:
        c = Control(alpha=alpha, k_p=k_p, tau=tau, dt=dt, steps=round(SPAN / dt) + 1,
                    integrator=integrator)
        last = simulate(net, c, fwd, delta, threads=1)
        distances.append(max(np.abs(last.x[i] + fwd.v[i] - v[i]).max() for i in range(3)))
        controls.append(np.abs(last.u - u).max())
    assert abs(slope_of(distances) - ORDER[integrator]) < 0.1
    assert abs(slope_of(controls) - ORDER[integrator]) < 0.1
    assert distances[-1] < 5e-3


@pytest.mark.parametrize("dt", [0.05, 0.5])
def test_the_fast_step_under_a_control_that_grows_linearly_is_exact(dt):
    """A hidden unit that the output does not hear: e = 1, u = t, tau x' = t - x, whatever dt is."""
    net = Network([np.eye(1), np.zeros((1, 1))], [np.zeros(1)] * 2, [np.eye(1), np.zeros((1, 1))],
                  ("linear", "linear"))
    fwd = forward(net, np.zeros((1, 1)))
    c = Control(alpha=0.0, k_p=0.0, dt=dt, steps=5, tau=0.2, integrator="fast")

    def lag(t, tau):
        return t - tau * (1 - np.exp(-t / tau))

    end = simulate(net, c, fwd, np.ones((1, 1)))
    np.testing.assert_allclose(end.u, 4 * dt, rtol=1e-14)
    np.testing.assert_allclose(end.x[0], lag(4 * dt, 0.2), rtol=1e-13)
    slow = simulate(net, replace(c, tau_A=0.3), fwd, np.ones((1, 1)))
    np.testing.assert_allclose(slow.apical[0], lag(4 * dt, 0.3), rtol=1e-13)


def test_both_integrators_settle_at_the_analytic_steady_state():
    """The fixed point of a linear network: e = alpha u, v = W v + b + Q u, at any dt."""
    net, x, delta = network("linear")
    fwd = forward(net, x)
    J = [net.W[2] @ net.W[1], net.W[2], np.eye(3)]
    gain = sum(j @ q for j, q in zip(J, net.Q, strict=True))
    u = np.linalg.solve(gain + 0.05 * np.eye(3), delta.T).T
    for integrator in ("euler", "fast"):
        c = Control(dt=0.05, steps=4000, integrator=integrator, proactive=True, **CONSTANTS)
        end = simulate(net, c, fwd, delta)
        np.testing.assert_allclose(end.u, u, atol=1e-12)
        np.testing.assert_allclose(delta - end.x[2], 0.05 * u, atol=1e-12)
