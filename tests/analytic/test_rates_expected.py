"""The expected feedback update against the full covariance, the noisy kernel, and training."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dfc_neuro.errors import EngineError, NumericalError
from dfc_neuro.optimisers._optimiser import Optimiser
from dfc_neuro.rates.compile import compile_rule
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.expected import OUTPUTS, expected_update
from dfc_neuro.rates.fixed_point import fixed_point
from dfc_neuro.rates.network import Network, forward, slopes
from dfc_neuro.rates.simulate import simulate

SCALE = 0.01


def phase(alpha, k_p, dt, steps, tau, tau_A, sigma):
    return Control(alpha=alpha, k_p=k_p, dt=dt, steps=steps, tau=tau, tau_A=tau_A, sigma=sigma,
                   sigma_output=sigma)


MNIST = phase(0.6133635688698066, 0.1565387776131571, 0.0020299480251123815, 48,
              0.00630250312119787, 0.32469417320648936, 0.001524181852173024)
FASHION = phase(0.23370420882566645, 0.006426940850583915, 0.003097349374603956, 34,
                0.00547324603685296, 0.13465111151646356, 0.002451309464861252)
FIGURE_3 = phase(0.25, 0.1, 0.002, 50, 0.01, 0.3, 0.01)
FIGURE_S2 = phase(0.5, 0.0, 0.001, 300, 0.005, 0.3, 0.01)
STRONG = replace(MNIST, tau=0.1, dt=0.02, steps=600)
SETTINGS = {
    "mnist": MNIST,
    "integral only": replace(MNIST, k_p=0.0),
    "apical in one step": replace(MNIST, tau_A=MNIST.dt),
    "instantaneous apical": replace(MNIST, tau_A=0.0),
    "half output noise": replace(MNIST, sigma_output=MNIST.sigma / 2),
    "output noise only": replace(MNIST, sigma=0.0),
    "instant system": replace(MNIST, instant_system=True),
    "all instantaneous": replace(MNIST, instant_system=True, tau_A=0.0),
    "delayed": replace(MNIST, transmission="delayed"),
    "proactive": replace(MNIST, proactive=True),
    "delayed, proactive, instantaneous apical": replace(
        MNIST, transmission="delayed", proactive=True, tau_A=0.0),
    "fast": replace(MNIST, integrator="fast"),
    "soma in one step": replace(MNIST, tau=MNIST.dt / 3),
    "two steps": replace(MNIST, steps=3),
    "strong loop": STRONG,
}


def network(sizes, hidden="tanh", dtype=np.float64, seed=0):
    """Weights as the published runs draw them, Q_L the identity."""
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    n_L = sizes[-1]
    Q = [rng.normal(size=(n, n_L)) * np.sqrt(2 / (n + n_L)) for n in sizes[1:-1]] + [np.eye(n_L)]
    W = [rng.normal(size=s) * np.sqrt(2 / sum(s)) for s in shapes]
    b = [0.1 * rng.normal(size=n) for n, _ in shapes]
    return Network(W, b, Q, (hidden,) * (len(shapes) - 1) + ("linear",)).astype(dtype)


def passes(net, B, seed=1):
    x = np.random.default_rng(seed).uniform(-1, 1, size=(B, net.sizes[0]))
    return forward(net, x.astype(net.dtype))


def distance(found, wanted):
    return max(np.linalg.norm(a - b) / np.linalg.norm(b)
               for a, b in zip(found, wanted, strict=True))


def propagated(net, control, fwd):
    """Minus the mean of v_A[t] u[t+1]^T by the covariance of the whole state, step by step."""
    L, n, n_L = net.depth, sum(net.sizes[1:]), net.sizes[-1]
    edge = np.cumsum([0, *net.sizes[1:]])
    layer = [slice(a, b) for a, b in pairwise(edge)]
    k, k_A = control.soma_step, control.apical_step
    hidden, output = control.noise_steps
    noise = np.diag([hidden] * edge[-2] + [output] * n_L)
    slope = slopes(net, fwd)
    total = [np.zeros_like(Q) for Q in net.Q]
    for b in range(len(fwd.x)):
        W = [W_i * s[b] for W_i, s in zip(net.W[1:], slope, strict=False)]

        def step(x, v_A, u, u_int, eta, b=b, W=W):
            e = -slope[-1][b][:, None] * x[layer[-1]]
            u_int = u_int + control.dt * (e - control.alpha * u)
            new = u_int + control.k_p * e
            v_A = ((1 - k_A) * v_A
                   + k_A * np.concatenate(net.Q) @ (new if control.proactive else u) + eta)
            moved = np.zeros_like(x)
            for i in range(L):
                below = W[i - 1] @ (x if control.delayed else moved)[layer[i - 1]] if i else 0.0
                moved[layer[i]] = (1 - k) * x[layer[i]] + k * (v_A[layer[i]] + below)
            return np.concatenate([moved, v_A, new, u_int])

        size = 2 * (n + n_L)
        A = step(*np.split(np.eye(size), [n, 2 * n, 2 * n + n_L]), np.zeros((n, size)))
        G = step(*np.split(np.zeros((size, n)), [n, 2 * n, 2 * n + n_L]), noise)
        P = np.zeros((size, size))
        for _ in range(control.steps - 1):
            pairs = (P @ A.T)[n:2 * n, 2 * n:2 * n + n_L]
            for i in range(L):
                total[i] -= pairs[layer[i]]
            P = A @ P @ A.T + G @ G.T
    return [part / (SCALE**2 * (control.steps - 1) * len(fwd.x)) for part in total]


@pytest.mark.parametrize("name", SETTINGS)
def test_recursion_is_the_covariance(name):
    net = network((6, 7, 5, 4, 3))
    fwd = passes(net, 2)
    wanted = propagated(net, SETTINGS[name], fwd)
    found = expected_update(net, SETTINGS[name], fwd, noise_scale=SCALE, terms=0)
    assert distance(found.dQ, wanted) < 1e-12
    assert (found.form, found.error) == ("recursion", 0.0)


@pytest.mark.parametrize("sizes", [(4, 3), (5, 1, 2), (3, 4, 4, 4, 4, 4, 1)])
@pytest.mark.parametrize("hidden", ["sigmoid", "leaky_relu"])
def test_depth_width_and_nonlinearity(sizes, hidden):
    net = network(sizes, hidden)
    fwd = passes(net, 3)
    wanted = propagated(net, FIGURE_3, fwd)
    for terms, bound in ((0, 1e-12), (8, 1e-10), (None, 1e-4)):
        found = expected_update(net, FIGURE_3, fwd, noise_scale=SCALE, terms=terms)
        assert distance(found.dQ, wanted) < bound


@pytest.mark.parametrize("control", [MNIST, FASHION, FIGURE_3, FIGURE_S2],
                         ids=["mnist", "fashion", "figure 3", "figure S2"])
@pytest.mark.parametrize("trained", [False, True])
def test_series_is_within_its_tolerance(control, trained):
    net = network((15, 10, 10, 5))
    fwd = passes(net, 128)
    if trained:
        decay = {MNIST: 1e-3, FASHION: 0.1, FIGURE_3: 0.025, FIGURE_S2: 0.01}[control]
        net.Q = fixed_point(net, control, fwd, weight_decay=decay, noise_scale=SCALE).Q
    exact = expected_update(net, control, fwd, noise_scale=SCALE, terms=0).dQ
    found = expected_update(net, control, fwd, noise_scale=SCALE)
    # Q learned with the constants of figure S2 closes the loop too far for the series
    assert found.form == ("recursion" if trained and control is FIGURE_S2 else "neumann")
    assert distance(found.dQ, exact) < 1e-4
    for terms in (1, 2, 3):  # the first order left out is what is missing
        short = expected_update(net, control, fwd, noise_scale=SCALE, terms=terms)
        assert 0.5 < short.error / distance(short.dQ, exact) < 2.0


@pytest.mark.parametrize("name", ["mnist", "delayed", "proactive", "fast"])
def test_order_of_the_series(name):
    """A series to order m misses what is of order m + 1 in Q."""
    net, size = network((6, 7, 5, 4, 3)), 1e-3
    fwd = passes(net, 2)
    net.Q = [size * Q for Q in net.Q]
    exact = expected_update(net, SETTINGS[name], fwd, noise_scale=SCALE, terms=0).dQ
    for terms in (1, 2, 3):
        found = expected_update(net, SETTINGS[name], fwd, noise_scale=SCALE, terms=terms)
        assert distance(found.dQ, exact) < max(5 * size ** (terms + 1), 1e-14)


def test_strong_loops_take_the_recursion():
    net = network((6, 7, 5, 4, 3))
    fwd = passes(net, 20)
    found = expected_update(net, STRONG, fwd, noise_scale=SCALE)
    assert found.form == "recursion"
    assert distance(found.dQ, propagated(net, STRONG, fwd)) < 1e-12
    assert expected_update(net, STRONG, fwd, noise_scale=SCALE, terms=2).error > 1.0


def test_mean_of_the_noisy_kernel():
    """Distance as sampling predicts (4 standard deviations of the statistic), slope 1."""
    net = network((15, 10, 10, 5))
    control = replace(FIGURE_3, sigma_output=0.005)
    few = passes(net, 8)
    many = forward(net, np.tile(few.x, (16, 1)))
    rule = compile_rule("dw/dt = -eta*apical_post*u_next_pre/noise_scale_post**2 : 1", None,
                        {"eta": 1.0, "noise_scale_post": SCALE})
    runs = np.array([np.concatenate([part.ravel() for part in simulate(
        net, control, many, np.zeros_like(many.r[-1]), rule=rule, seed=seed).dW])
        for seed in range(300)])
    wanted = np.concatenate([part.ravel() for part in expected_update(
        net, control, few, noise_scale=SCALE).dQ])
    N = len(runs)
    spread = np.cov(runs.T)
    modes = np.linalg.eigvalsh(spread)
    statistic = N * np.sum((runs.mean(axis=0) - wanted) ** 2) / modes.sum()
    assert abs(statistic - 1.0) < 4.0 * np.sqrt(2.0 * np.sum(modes**2)) / modes.sum()
    along = runs @ wanted / (wanted @ wanted)
    error = along.std(ddof=1) / np.sqrt(N)
    assert error < 0.005
    assert abs(along.mean() - 1.0) < 4.0 * error


@pytest.mark.parametrize("terms", [None, 0])
def test_single_precision(terms):
    net = network((30, 40, 40, 10))
    fwd = passes(net, 32)
    double = expected_update(net, MNIST, fwd, noise_scale=SCALE, terms=terms)
    net = net.astype(np.float32)
    single = expected_update(net, MNIST, forward(net, fwd.x.astype(np.float32)), noise_scale=SCALE,
                             terms=terms)
    assert single.form == double.form
    assert {part.dtype for part in single.dQ} == {np.dtype(np.float32)}
    assert distance(single.dQ, double.dQ) < 5e-6


@pytest.mark.parametrize("terms", [None, 0])
def test_threads_change_nothing_and_samples_add_up(terms):
    net = network((15, 10, 10, 5))
    fwd = passes(net, 150)
    one, two = (expected_update(net, MNIST, fwd, noise_scale=SCALE, terms=terms, threads=threads)
                for threads in (1, 2))
    for a, b in zip(one.dQ, two.dQ, strict=True):
        np.testing.assert_array_equal(a, b)
    exact = expected_update(net, MNIST, fwd, noise_scale=SCALE, terms=0).dQ
    single = [expected_update(net, MNIST, forward(net, x[None]), noise_scale=SCALE, terms=0).dQ
              for x in fwd.x]
    mean = [sum(parts) / len(fwd.x) for parts in zip(*single, strict=True)]
    assert distance(exact, mean) < 1e-12


@pytest.mark.parametrize("control", [MNIST, FIGURE_3, replace(FIGURE_S2, k_p=0.3, alpha=0.001)])
def test_fixed_point_is_where_update_and_decay_cancel(control):
    net, decay = network((15, 10, 10, 5)), 0.01
    before = [Q.copy() for Q in net.Q]
    fwd = passes(net, 40)
    rest = fixed_point(net, control, fwd, weight_decay=decay, noise_scale=SCALE, tolerance=1e-9,
                       iterations=30)
    assert rest.change < 1e-9 and rest.iterations > 2
    assert all(np.array_equal(Q, old) for Q, old in zip(net.Q, before, strict=True))
    net.Q = rest.Q
    update = expected_update(net, control, fwd, noise_scale=SCALE, terms=0).dQ
    # as far as the series, which the solver uses where it may, agrees with the recursion
    assert distance(update, [decay * Q for Q in net.Q]) < 1e-4
    halves = [forward(net, fwd.x[:15]), forward(net, fwd.x[15:])]
    again = fixed_point(net, control, halves, weight_decay=decay, noise_scale=SCALE)
    assert distance(again.Q, rest.Q) < 2e-4


def test_training_ends_at_the_fixed_point():
    net, decay = network((15, 10, 10, 5)), 0.025
    fwd = passes(net, 40)
    rest = fixed_point(net, FIGURE_3, fwd, weight_decay=decay, noise_scale=SCALE, trained=[0, 1])
    np.testing.assert_array_equal(rest.Q[2], np.eye(5))
    sgd = Optimiser({"name": "sgd", "lr": 10.0, "weight_decay": decay}, "Q")
    learn = net.Q[:2]
    start = distance(learn, rest.Q[:2])
    for _ in range(60):
        sgd.apply(learn, expected_update(net, FIGURE_3, fwd, noise_scale=SCALE).dQ[:2])
    assert start > 1.0
    assert distance(learn, rest.Q[:2]) < 2e-4


def test_fixed_point_without_rest():
    net = network((6, 1, 3))
    fwd = passes(net, 1)
    one = replace(MNIST, sigma_output=0.0)  # the noise of one unit, three outputs
    with pytest.raises(EngineError, match=r"weight_decay: is 0, .*give the optimiser"):
        fixed_point(net, one, fwd, weight_decay=0.0, noise_scale=SCALE)
    with pytest.raises(EngineError, match="weight_decay: found -1"):
        fixed_point(net, one, fwd, weight_decay=-1.0, noise_scale=SCALE)
    with pytest.raises(NumericalError, match="not come to rest after 1 iterations"):
        fixed_point(net, one, fwd, weight_decay=0.01, noise_scale=SCALE, iterations=1)


def test_refusals():
    wide = network((2, 3, OUTPUTS + 1))
    with pytest.raises(EngineError, match=f"{OUTPUTS + 1} x {OUTPUTS + 1} matrices.*learned"):
        expected_update(wide, MNIST, passes(wide, 1), noise_scale=SCALE)
    net = network((6, 7, 3))
    fwd = passes(net, 2)
    with pytest.raises(EngineError, match="the phase has no noise"):
        expected_update(net, replace(MNIST, sigma=0.0, sigma_output=0.0), fwd, noise_scale=SCALE)
    skip = replace(net, W=[*net.W, np.zeros((3, 6))], skips=((1, 0),))
    with pytest.raises(EngineError, match=r"the network has skip projections.*learned"):
        expected_update(skip, MNIST, fwd, noise_scale=SCALE)
    with pytest.raises(EngineError, match="noise_scale: found 0"):
        expected_update(net, MNIST, fwd, noise_scale=0.0)
    net.Q = [-1e4 * Q for Q in net.Q]
    with pytest.raises(NumericalError, match="feedback loop is unstable"):
        expected_update(net, STRONG, fwd, noise_scale=SCALE)
