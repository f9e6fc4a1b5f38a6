"""Both integrators approach the exact solution of the controlled network at first order in dt."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Network, forward
from dfc_neuro.rates.simulate import simulate

SIZES, BATCH, SPAN = (5, 6, 4, 3), 3, 1.6
STEPS = np.array([0.008, 0.004, 0.002, 0.001])
CONSTANTS = {"alpha": 0.05, "k_p": 1.2, "tau": 0.25}
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
    assert 0.9 < slope_of(soma) < 1.1
    assert 0.9 < slope_of(control) < 1.1
    assert soma[-1] < 0.02 * np.abs(exact).max()


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
    assert 0.9 < slope_of(distances) < 1.1
    assert 0.9 < slope_of(controls) < 1.1
    assert distances[-1] < 5e-3


def test_the_fast_step_of_a_free_compartment_is_exact():
    """With alpha = k_p = 0 the control after one step is dt; the compartments relax towards it."""
    net = Network([np.eye(1)], [np.zeros(1)], [np.eye(1)], ("linear",))
    fwd = forward(net, np.zeros((1, 1)))
    for dt in (0.05, 0.5):
        c = Control(alpha=0.0, k_p=0.0, dt=dt, steps=2, tau=0.2, proactive=True, integrator="fast")
        end = simulate(net, c, fwd, np.ones((1, 1)))
        np.testing.assert_allclose(end.x[0], dt * (1 - np.exp(-dt / max(0.2, dt))), rtol=1e-14)
        slow = Control(alpha=0.0, k_p=0.0, dt=dt, steps=2, tau=0.2, tau_A=0.3, proactive=True,
                       integrator="fast")
        end = simulate(net, slow, fwd, np.ones((1, 1)))
        np.testing.assert_allclose(end.apical[0], dt * (1 - np.exp(-dt / 0.3)), rtol=1e-14)


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
