"""Layers with skip projections: against the equations, finite differences and padded chains."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import root

from dfc_neuro.diagnostics import _references, _stability, condition_1, nullspace
from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.methods import bp, dfa, dfc, dfc_ss, dfc_ssa
from dfc_neuro.methods._step import Minibatch
from dfc_neuro.rates.compile import compile_rule
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Network, backprop, forward, jacobian
from dfc_neuro.rates.simulate import simulate
from dfc_neuro.rates.steady_state import steady_state

SIZES, SKIPS, B = (5, 6, 4, 3), ((2, 0), (1, 0), (2, 1)), 7
PHI = {"tanh": np.tanh, "linear": lambda v: v, "relu": lambda v: np.where(v > 0, v, 0.0 * v),
       "sigmoid": lambda v: 1.0 / (1.0 + np.exp(-v))}
FORWARD = compile_rule("dw/dt = 2*mismatch_post*rate_pre : 1", "db/dt = 2*mismatch_post : 1", {})
DECAY = compile_rule("dw/dt = rate_post*rate_pre - rate_post**2*w : 1", None, {})
SYNAPSE = compile_rule("dw/dt = tanh(rate_post*rate_pre - w) : 1", None, {})
FEEDBACK = compile_rule("dw/dt = -apical_post*u_next_pre : 1", None, {})
CONTROL = Control(alpha=0.05, k_p=1.2, dt=0.05, steps=30, tau=0.25)
VALUES = {"sum of products": lambda post, basal, pre, w: 2 * (post - basal) * pre,
          "factors of w": lambda post, basal, pre, w: post * pre - post**2 * w,
          "by synapse": lambda post, basal, pre, w: np.tanh(post * pre - w)}
RULES = {"sum of products": FORWARD, "factors of w": DECAY, "by synapse": SYNAPSE}


def network(hidden=("tanh", "sigmoid"), output="linear", sizes=SIZES, skips=SKIPS, seed=0):
    rng = np.random.default_rng(seed)
    links = [*((i, i) for i in range(len(sizes) - 1)), *skips]
    W = [rng.normal(size=(sizes[i + 1], sizes[j])) / np.sqrt(2 * sizes[j]) for i, j in links]
    net = Network(W, [0.3 * rng.normal(size=n) for n in sizes[1:]], [], (*hidden, output), skips)
    J = [J_i[0] for J_i in jacobian(net, forward(net, np.zeros((1, sizes[0]))))]
    net.Q = [J_i.T + 0.1 * rng.normal(size=J_i.T.shape) for J_i in J]
    return net


@pytest.fixture(scope="module")
def state():
    net, rng = network(), np.random.default_rng(1)
    return net, forward(net, rng.normal(size=(B, 5))), 0.2 * rng.normal(size=(B, 3))


def drives(net, rates):
    """b_i + sum_j W_ij r_j of every layer, from r_0, r_1, ..."""
    found = [np.broadcast_to(b, (len(rates[0]), len(b))).astype(rates[0].dtype) for b in net.b]
    for W, (i, j) in zip(net.W, [(0, 0), (1, 1), (2, 2), *net.skips], strict=True):
        found[i] = found[i] + rates[j] @ W.T
    return found


def plain_forward(net, x):
    v, rates = [], [x]
    for i in range(3):
        rates += [np.zeros((len(x), n), x.dtype) for n in net.sizes[len(rates):]]
        v.append(drives(net, rates)[i])
        rates = [*rates[:i + 1], PHI[net.nonlinearities[i]](v[i])]
    return v, rates


def euler(net, c, x, delta, noise=None):
    """All states (T, B, n_i) of v, v_B, v_A and r, and u, a step at a time."""
    exponential = c.integrator == "fast"
    k = -np.expm1(-c.dt / c.tau) if exponential else c.dt / c.tau
    k_A = 1.0
    if c.tau_A:
        k_A = -np.expm1(-c.dt / c.tau_A) if exponential else c.dt / c.tau_A
    v, rates = plain_forward(net, x)
    basal, v_A = [a.copy() for a in v], [np.zeros_like(a) for a in v]
    target, u, total = rates[3] + delta, np.zeros((len(x), 3)), np.zeros((len(x), 3))
    out = {name: [part] for name, part in (("v", v), ("basal", basal), ("v_A", v_A),
                                           ("r", rates[1:]), ("u", u))}
    for t in range(c.steps - 1):
        e = target - rates[3]
        total = total + c.dt * (e - c.alpha * u)
        u_new = total + c.k_p * e
        new, v, basal = list(rates), list(v), list(basal)
        v_A = [a + k_A * ((u_new if c.proactive else u) @ Q.T - a)
               for a, Q in zip(v_A, net.Q, strict=True)]
        for i in range(3):
            if noise is not None:
                v_A[i] = v_A[i] + c.noise_steps[i == 2] * noise[i][t]
            basal[i] = drives(net, rates if c.delayed else new)[i]
            v[i] = v[i] + k * (basal[i] + v_A[i] - v[i])
            new[i + 1] = PHI[net.nonlinearities[i]](v[i])
        rates, u = new, u_new
        for name, part in (("v", v), ("basal", basal), ("v_A", v_A), ("r", rates[1:]), ("u", u)):
            out[name].append(part)
    return {name: np.array(a) if name == "u" else [np.array(part) for part in
                                                   zip(*a, strict=True)]
            for name, a in out.items()}


def test_forward_is_the_sum_of_all_projections(state):
    net, fwd, _ = state
    v, rates = plain_forward(net, fwd.x)
    for found, expected in zip((*fwd.v, *fwd.r), (*v, *rates[1:]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


def test_jacobian_and_gradient_by_differences(state):
    net, fwd, delta = state
    h = 1e-6
    for i, J in enumerate(jacobian(net, fwd)):
        for k in range(net.sizes[i + 1]):
            ends = []
            for sign in (h, -h):
                moved = net.astype(np.float64)
                moved.b[i][k] += sign
                ends.append(plain_forward(moved, fwd.x)[1][3])
            np.testing.assert_allclose(J[:, :, k], (ends[0] - ends[1]) / (2 * h), atol=1e-9)
    update = backprop(net, fwd, delta)
    step = bp.update(Minibatch(net, fwd, delta, 0.5, CONTROL, FORWARD)).update
    assert [a.shape for a in update.dW] == [w.shape for w in net.W]
    for kind, ascent in (("W", update.dW), ("b", update.db)):
        for n, a in enumerate(ascent):
            slope = np.zeros_like(a)
            for at in np.ndindex(a.shape):
                ends = []
                for sign in (h, -h):
                    moved = net.astype(np.float64)
                    getattr(moved, kind)[n][at] += sign
                    ends.append((delta * plain_forward(moved, fwd.x)[1][3]).sum())
                slope[at] = (ends[0] - ends[1]) / (2 * h)
            np.testing.assert_allclose(a, slope, atol=1e-8)
    np.testing.assert_allclose(step.flat(), 2 * update.flat(), rtol=1e-13)


CASES = {
    "instant": {}, "delayed": {"transmission": "delayed"}, "proactive": {"proactive": True},
    "slow": {"tau_A": 0.4, "transmission": "delayed", "proactive": True},
    "noise": {"sigma": 0.3, "sigma_output": 0.2, "tau_A": 0.4},
    "fast with noise": {"sigma": 0.3, "sigma_output": 0.2, "tau_A": 0.4, "integrator": "fast",
                        "transmission": "delayed"}}


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("case", sorted(CASES))
def test_dynamics_and_rules_step_by_step(state, case, rule):
    net, fwd, delta = state
    c = replace(CONTROL, **CASES[case])
    noise = None
    if c.sigma:
        noise = [np.random.default_rng(i).normal(size=(c.steps - 1, B, n))
                 for i, n in enumerate(net.sizes[1:])]
    end = simulate(net, c, fwd, delta, rule=RULES[rule], noise=noise, record_every=1)
    path, found = euler(net, c, fwd.x, delta, noise), end.trajectory
    np.testing.assert_allclose(found.u, path["u"], atol=1e-12)
    for i in range(3):
        for name, key in (("v", "v_soma"), ("basal", "v_basal"), ("v_A", "v_apical"), ("r", "r")):
            np.testing.assert_allclose(getattr(found, key)[i], path[name][i], atol=1e-12)
    if rule == "by synapse":  # read once, at the average of the states
        path = {name: a if name == "u" else [part.mean(axis=0, keepdims=True) for part in a]
                for name, a in path.items()}
        path["r"] = [PHI[name](v) for name, v in zip(net.nonlinearities, path["v"], strict=True)]
    pre = [np.broadcast_to(fwd.x, (len(path["v"][0]), *fwd.x.shape)), *path["r"]]
    for W, dW, (i, j) in zip(net.W, end.dW, net.links, strict=True):
        post = path["r"][i][..., None]
        basal = PHI[net.nonlinearities[i]](path["basal"][i])[..., None]
        expected = VALUES[rule](post, basal, pre[j][:, :, None, :], W).mean(axis=(0, 1))
        np.testing.assert_allclose(dW, expected, atol=1e-12)
    if rule == "sum of products":
        single = net.astype(np.float32)
        found = simulate(single, c, forward(single, fwd.x.astype("f")), delta.astype("f"),
                         rule=FORWARD, noise=noise)
        np.testing.assert_allclose(found.update.flat(), end.update.flat(), atol=3e-6)


def test_feedback_weights_learn_from_the_same_noise(state):
    net, fwd, delta = state
    c = replace(CONTROL, sigma=0.3, tau_A=0.4)
    noise = [np.random.default_rng(i).normal(size=(c.steps - 1, B, n))
             for i, n in enumerate(net.sizes[1:])]
    end = simulate(net, c, fwd, 0 * delta, rule=FEEDBACK, noise=noise)
    path = euler(net, c, fwd.x, 0 * delta, noise)
    for found, v_A in zip(end.dW, path["v_A"], strict=True):
        expected = -np.einsum("tbi,tbj->ij", v_A[:-1], path["u"][1:]) / ((c.steps - 1) * B)
        np.testing.assert_allclose(found, expected, atol=1e-13)


def motion(net, x, target, c):
    """d(v, u_int)/dt of one sample, u = u_int + k_p e."""
    def right(_, z):
        *v, total = np.split(z, np.cumsum(net.sizes[1:]))
        rates = [x, *(PHI[name](a) for name, a in zip(net.nonlinearities, v, strict=True))]
        e = target - rates[3]
        u = total + c.k_p * e
        basal = drives(net, [r[None] for r in rates])
        return np.concatenate([*((d[0] + Q @ u - a) / c.tau for d, Q, a in
                                 zip(basal, net.Q, v, strict=True)), e - c.alpha * u])
    return right


def test_fast_steps_are_of_second_order(state):
    net, fwd, delta = state
    errors, steps, span = [], np.array([0.04, 0.02, 0.01]), 1.6
    exact = []
    for b in range(2):
        start = np.concatenate([*(v[b] for v in fwd.v), np.zeros(3)])
        exact.append(solve_ivp(motion(net, fwd.x[b], fwd.r[-1][b] + delta[b], CONTROL), (0, span),
                               start, rtol=1e-11, atol=1e-12).y[:15 - 2, -1])
    some = fwd.part(slice(2))
    for dt in steps:
        c = replace(CONTROL, integrator="fast", dt=dt, steps=round(span / dt) + 1)
        end = simulate(net, c, some, delta[:2])
        v = np.concatenate([free + x for free, x in zip(some.v, end.x, strict=True)], axis=1)
        errors.append(np.abs(v - np.array(exact)).max())
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(2, abs=0.15)
    assert errors[-1] < 1e-4


def test_settled_states_solve_the_equations(state):
    """DFC-SS ends at the root of the full equations; DFC-SSA is that of a linear network."""
    for net in (state[0], network(("linear", "linear"))):
        fwd, delta = forward(net, state[1].x), state[2]
        end = simulate(net, replace(CONTROL, steps=4000), fwd, delta)
        steady = steady_state(net, fwd, delta, CONTROL.alpha)
        for b in range(B):
            start = np.concatenate([*(v[b] for v in fwd.v), np.zeros(3)])
            c = replace(CONTROL, k_p=0.0)  # at rest u = u_int
            right = partial(motion(net, fwd.x[b], fwd.r[-1][b] + delta[b], c), 0)
            found = root(right, start, tol=1e-13)
            v, u_b = found.x[:-3], found.x[-3:]
            settled = np.concatenate([free[b] + a[b] for free, a in zip(fwd.v, end.x, strict=True)])
            np.testing.assert_allclose(settled, v, atol=1e-10)
            np.testing.assert_allclose(end.u[b], u_b, atol=1e-10)
            if net is not state[0]:
                np.testing.assert_allclose(steady.u[b], u_b, atol=1e-10)
                found = [free[b] + a[b] for free, a in zip(fwd.v, steady.x, strict=True)]
                np.testing.assert_allclose(np.concatenate(found), v, atol=1e-10)


def padded():
    """A network with skips, and the chain in which units of relu hand on what skips read."""
    net = network(("relu", "relu"))
    W1, W2, W3, W3_0, W2_0, W3_1 = net.W
    chain = Network(
        [np.concatenate([W1, np.eye(5)]),
         np.concatenate([np.concatenate([W2, W2_0], axis=1), np.eye(11)]),
         np.concatenate([W3, W3_1, W3_0], axis=1)],
        [np.concatenate([net.b[0], np.zeros(5)]), np.concatenate([net.b[1], np.zeros(11)]),
         net.b[2]],
        [np.concatenate([net.Q[0], np.zeros((5, 3))]),
         np.concatenate([net.Q[1], np.zeros((11, 3))]), net.Q[2]], net.nonlinearities)
    x = np.random.default_rng(3).uniform(0, 1, (B, 5))
    return net, chain, x, 0.1 * np.random.default_rng(4).normal(size=(B, 3))


@pytest.mark.parametrize("method", [dfc_ssa, dfc_ss])
def test_updates_equal_those_of_a_padded_chain(method):
    net, chain, x, delta = padded()
    c = replace(CONTROL, steps=3000)
    one, other = (method.update(Minibatch(n, forward(n, x), delta, 1.0, c, FORWARD)).update
                  for n in (net, chain))
    parts = [other.dW[0][:6], other.dW[1][:4, :6], other.dW[2][:, :4], other.dW[2][:, 10:],
             other.dW[1][:4, 6:], other.dW[2][:, 4:10]]
    for found, expected in zip(one.dW, parts, strict=True):
        assert np.abs(expected).max() > 1e-4
        np.testing.assert_allclose(found, expected, atol=1e-10)
    for found, expected in zip(one.db, other.db, strict=True):
        np.testing.assert_allclose(found, expected[:len(found)], atol=1e-10)


def test_delayed_states_are_read_anew_by_dfc_ss(state):
    net, fwd, delta = state
    c = replace(CONTROL, transmission="delayed")
    path = euler(net, c, fwd.x, delta)
    step = dfc_ss.update(Minibatch(net, fwd, delta, 1.0, c, FORWARD)).update
    rates = [fwd.x, *(r[-1] for r in path["r"])]
    basal = drives(net, rates)
    soma = [v[-1] - old[-1] + new for v, old, new in
            zip(path["v"], path["basal"], basal, strict=True)]
    for dW, (i, j) in zip(step.dW, net.links, strict=True):
        phi = PHI[net.nonlinearities[i]]
        np.testing.assert_allclose(dW, 2 * (phi(soma[i]) - phi(basal[i])).T @ rates[j] / B,
                                   atol=1e-12)


def test_dfc_falls_back_on_steps(state):
    net, fwd, delta = state
    batch = Minibatch(net, fwd, delta, 1.0, replace(CONTROL, integrator="averaged"), FORWARD)
    step = dfc.update(batch)
    expected = simulate(net, CONTROL, fwd, delta, rule=FORWARD).update
    np.testing.assert_array_equal(step.update.flat(), expected.flat())


def test_dfa_gives_every_projection_its_target(state):
    net, fwd, delta = state
    step = dfa.update(Minibatch(net, fwd, delta, 1.0, CONTROL, FORWARD)).update
    rates = [fwd.x, *fwd.r]
    reach = [(1 - fwd.r[0] ** 2) * (delta @ net.Q[0].T),
             fwd.r[1] * (1 - fwd.r[1]) * (delta @ net.Q[1].T), delta]
    for dW, (i, j) in zip(step.dW, net.links, strict=True):
        np.testing.assert_allclose(dW, 2 * np.einsum("bi,bj->ij", reach[i], rates[j]) / B,
                                   atol=1e-14)


def weight_jacobian(net, x, h=1e-6):
    """d r_L / d(all W, then all b) of each sample by central differences, (B, n_L, parameters)."""
    columns = []
    for kind, n in [("W", n) for n in range(6)] + [("b", n) for n in range(3)]:
        for at in np.ndindex(getattr(net, kind)[n].shape):
            ends = []
            for sign in (h, -h):
                moved = net.astype(np.float64)
                getattr(moved, kind)[n][at] += sign
                ends.append(plain_forward(moved, x)[1][3])
            columns.append((ends[0] - ends[1]) / (2 * h))
    return np.stack(columns, axis=2)


@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_references_by_pseudoinverses_of_whole_jacobians(state, gamma):
    net, fwd, delta = state
    J_W = weight_jacobian(net, fwd.x)
    J_v = np.concatenate([J_W[:, :, -13:-7], J_W[:, :, -7:-3], J_W[:, :, -3:]], axis=2)

    def solved(J):
        return [(np.linalg.pinv(a) if not gamma else
                 a.T @ np.linalg.inv(a @ a.T + gamma * np.eye(3))) @ d
                for a, d in zip(J, delta, strict=True)]

    found = _references.gauss_newton(net, fwd, delta, gamma).flat()
    np.testing.assert_allclose(found, np.mean(solved(J_W), axis=0), atol=1e-7)
    targets = np.split(np.array(solved(J_v)), (6, 10), axis=1)
    update = _references.minimum_norm(net, fwd, delta, gamma)
    rates = [fwd.x, *fwd.r]
    for dW, (i, j) in zip(update.dW, net.links, strict=True):
        np.testing.assert_allclose(dW, targets[i].T @ rates[j] / B, atol=1e-7)
    # DFC-SSA with the pseudoinverse as feedback makes the targets of MN
    if not gamma:
        one, own = fwd.part(slice(1)), net.astype(np.float64)
        own.Q = np.split(np.linalg.pinv(J_v[0]), (6, 10))
        state_ = _references.analytic_state(own, one, delta[:1], 0.0)
        for a, b in zip(state_.delta_v, targets, strict=True):
            np.testing.assert_allclose(a, b[:1], atol=1e-7)


def test_conditions_and_nullspace_count_all_that_a_layer_reads(state):
    net, fwd, delta = state
    update = _references.gauss_newton(net, fwd, delta)
    snapshot = Snapshot(net, fwd, delta, update)
    reads = [[0], [1, 0], [2, 0, 1]]
    rates = [fwd.x, *fwd.r]
    norms = np.array([np.sqrt(sum((rates[j] ** 2).sum(axis=1) for j in js)) for js in reads])
    expected = (norms.std(axis=0) / norms.mean(axis=0)).mean()
    assert condition_1.measure(snapshot) == pytest.approx(expected, rel=1e-12)
    # a Gauss-Newton update of one sample lies in the row space of the Jacobian of every W
    one = fwd.part(slice(1))
    found = nullspace.measure(Snapshot(net, one, delta[:1],
                                       _references.gauss_newton(net, one, delta[:1])))
    assert set(found) == {"W1", "W2", "W3", "W3_0", "W2_0", "W3_1"}
    assert max(found.values()) < 1e-6


@pytest.mark.parametrize("k_p", [0.0, 1.2])
def test_stability_is_that_of_the_linearised_motion(state, k_p):
    net, fwd, _ = state
    constants = {"alpha": 0.05, "k_p": k_p, "tau": 0.25}
    whole = _stability.matrices(net, fwd, **constants)
    found = _stability.leading_eigenvalues(net, fwd, **constants)
    for name, A in whole.items():
        np.testing.assert_allclose(found[name], _stability.leading(A), atol=1e-8)
    for b in range(2):
        right = motion(net, fwd.x[b].astype(complex), fwd.r[-1][b], replace(CONTROL, k_p=k_p))
        start = np.concatenate([*(v[b] for v in fwd.v), np.zeros(3)]).astype(complex)
        A = np.stack([right(0, start + 1e-30j * e).imag / 1e-30 for e in np.eye(16)], axis=1)
        assert found["A_PI"][b] == pytest.approx(np.linalg.eigvals(A).real.max(), abs=1e-8)
