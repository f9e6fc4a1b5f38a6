"""The closed form of the time average against Euler steps of the network."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dfc_neuro.errors import NumericalError
from dfc_neuro.methods import dfc
from dfc_neuro.methods._step import Minibatch
from dfc_neuro.rates.averaged import TOLERANCE, applies, time_average
from dfc_neuro.rates.compile import compile_rule
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Network, forward
from dfc_neuro.rates.rules import apply_rule
from dfc_neuro.rates.simulate import simulate

MISMATCH = "eta*(rate_post - prediction_post)"
RULE = compile_rule(f"dw/dt = {MISMATCH}*rate_pre : 1", f"db/dt = {MISMATCH} : 1", {"eta": 2.0})
MNIST = Control(alpha=1.389e-3, k_p=2.0, dt=0.02, steps=1000, tau=0.2, proactive=True)
SIZES = (15, 10, 10, 5)


def network(seed=0, phi="tanh", sizes=SIZES, gain=1.0):
    rng = np.random.default_rng(seed)

    def xavier(n, m):
        return gain * rng.normal(0, np.sqrt(2 / (n + m)), (n, m))

    W = [xavier(n, m) for n, m in zip(sizes[1:], sizes, strict=False)]
    # feedback weights along the transpose of the Jacobian, as trained ones are
    Q, product = [], np.eye(sizes[-1])
    for w in reversed(W):
        Q.insert(0, product + 0.05 * rng.normal(size=product.shape))
        product = w.T @ product
    b = [0.1 * rng.normal(size=n) for n in sizes[1:]]
    return Network(W, b, Q, (phi,) * (len(W) - 1) + ("linear",))


def minibatch(net, nudge, B=7, seed=1):
    rng = np.random.default_rng(seed)
    fwd = forward(net, rng.normal(size=(B, net.sizes[0])))
    return fwd, nudge * rng.normal(size=(B, net.sizes[-1]))


def distance(a, b):
    return np.linalg.norm(a.flat() - b.flat()) / np.linalg.norm(b.flat())


SETTINGS = [
    dict(transmission=transmission, proactive=proactive, tau_A=tau_A, alpha=alpha)
    for transmission in ("instant", "delayed") for proactive in (True, False)
    for tau_A in (0.0, 0.2, 1.0) for alpha in (0.0015, 0.3)]


@pytest.mark.parametrize("steps", [3, 30, 300])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_exact_for_a_linear_network_in_every_setting_and_at_any_length(setting, steps):
    net = network(phi="linear")
    fwd, delta = minibatch(net, 1.0)
    control = replace(MNIST, steps=steps, **setting)
    mean = time_average(net, control, fwd, delta)
    steps_taken = simulate(net, control, fwd, delta, rule=RULE, record_every=1, bound=0.0)
    path = steps_taken.trajectory
    for i in range(net.depth):
        soma = path.v_soma[i].mean(axis=0) - fwd.v[i]
        basal = path.v_basal[i].mean(axis=0) - fwd.v[i]
        scale = np.abs(soma).max()
        np.testing.assert_allclose(mean.x[i], soma, rtol=0, atol=1e-11 * scale)
        np.testing.assert_allclose(mean.basal[i], basal, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(mean.u, steps_taken.u, rtol=0,
                               atol=1e-11 * np.abs(steps_taken.u).max())


@pytest.mark.parametrize("dtype,close", [(np.float64, 1e-11), (np.float32, 2e-5)])
def test_more_outputs_than_rows_and_samples_that_fill_no_vector(dtype, close):
    """The chain takes ten rows and four or eight samples at a time: here 13 and 11."""
    net = network(phi="linear", sizes=(15, 14, 13, 13), gain=0.5)
    fwd, delta = minibatch(net, 1.0, B=11)
    control, low = replace(MNIST, steps=100), net.astype(dtype)
    path = simulate(net, control, fwd, delta, record_every=1, bound=0.0).trajectory
    mean = time_average(low, control, forward(low, fwd.x.astype(dtype)), delta.astype(dtype))
    for found, soma, free in zip(mean.x, path.v_soma, fwd.v, strict=True):
        exact = soma.mean(axis=0) - free
        np.testing.assert_allclose(found, exact, rtol=0, atol=close * np.abs(exact).max())


@pytest.mark.parametrize("k_p", [0.0, 2.0])
def test_instantaneous_system_and_pure_integral_control(k_p):
    net = network(phi="linear")
    fwd, delta = minibatch(net, 1.0)
    control = replace(MNIST, steps=200, k_p=k_p, instant_system=k_p == 0.0, dt=0.01)
    mean = time_average(net, control, fwd, delta)
    update = apply_rule(RULE, net, fwd, mean.x, mean.basal, mean.apical)
    # the product with presynaptic rates is averaged factor by factor, so only the bias is exact
    exact = simulate(net, control, fwd, delta, rule=RULE, bound=0.0)
    for found, expected in zip(update.db, exact.db, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("steps", [300, 1000])
@pytest.mark.parametrize("setting", [
    dict(), dict(transmission="delayed", proactive=False, tau_A=0.05)], ids=["published", "other"])
def test_update_of_the_published_regime_is_that_of_the_steps(setting, steps):
    net = network()
    fwd, delta = minibatch(net, 2e-4)
    control = replace(MNIST, steps=steps, **setting)
    exact = simulate(net, control, fwd, delta, rule=RULE).update
    batch = Minibatch(net, fwd, delta, 0.078, replace(control, integrator="averaged"), RULE)
    step = dfc.update(batch)
    assert step.stepped == 0 and step.controlled is None
    assert distance(step.update, exact) < 1e-4


@pytest.mark.parametrize("phi", ["tanh", "sigmoid"])
@pytest.mark.parametrize("setting", [
    dict(), dict(k_p=0.0), dict(k_p=0.0, tau_A=0.2),
    dict(transmission="delayed", proactive=False, tau_A=0.05)], ids=lambda s: str(len(s)))
def test_the_error_is_below_three_times_the_estimate(phi, setting):
    for seed, nudge in product(range(4), (1e-4, 1e-3, 1e-2, 0.1)):
        net = network(seed, phi, (6, 9, 7, 4))
        fwd, delta = minibatch(net, nudge, B=20, seed=seed + 1)
        for steps in (60, 300, 1000) if seed == 0 else (60,):
            control = replace(MNIST, steps=steps, alpha=0.01, **setting)
            exact = simulate(net, control, fwd, delta, rule=RULE).update
            mean = time_average(net, control, fwd, delta)
            if mean.doubtful.any() and np.isfinite(mean.estimate):  # the estimate is of the others
                keep = ~mean.doubtful
                fwd, delta = fwd.part(keep), delta[keep]
                exact = simulate(net, control, fwd, delta, rule=RULE).update
                for part in (mean.x, mean.basal, mean.apical):
                    part[:] = [a[keep] for a in part]
            found = apply_rule(RULE, net, fwd, mean.x, mean.basal, mean.apical)
            assert distance(found, exact) < 3 * mean.estimate + 1e-7


def test_what_is_accepted_is_within_the_tolerance():
    net = network(sizes=(6, 9, 7, 4))
    for nudge in (1e-4, 1e-3, 1e-2):
        fwd, delta = minibatch(net, nudge, B=20)
        for k_p, steps in ((0.0, 150), (2.0, 150), (2.0, 1000)):
            control = replace(MNIST, steps=steps, k_p=k_p, integrator="averaged")
            step = dfc.update(Minibatch(net, fwd, delta, 1.0, control, RULE))
            exact = simulate(net, control, fwd, delta, rule=RULE).update
            assert distance(step.update, exact) < 2e-4
            assert step.stepped == 0 or nudge > 1e-4


def test_first_the_form_then_a_newton_step_then_steps():
    """By the size of the nudge; whatever way it goes, the update is that of Euler's steps."""
    net = network()
    ways = []
    for nudge in 10.0 ** np.arange(-6.0, 1.0, 0.5):
        fwd, delta = minibatch(net, nudge)
        control = replace(MNIST, integrator="averaged")
        step = dfc.update(Minibatch(net, fwd, delta, 1.0, control, RULE))
        ways.append("stepped" if step.stepped else "newton" if step.newton else "form")
        exact = simulate(net, MNIST, fwd, delta, rule=RULE).update
        assert distance(step.update, exact) < TOLERANCE
    first = [ways.index(way) for way in ("form", "newton", "stepped")]
    assert first == sorted(first) and ways == sorted(ways, key=["form", "newton", "stepped"].index)


def test_it_gives_way_to_steps_and_says_so():
    net = network()
    fwd, delta = minibatch(net, 3.0)
    control = replace(MNIST, steps=200, integrator="averaged")
    step = dfc.update(Minibatch(net, fwd, delta, 1.0, control, RULE))
    assert step.stepped == len(delta)
    exact = simulate(net, replace(control, integrator="euler"), fwd, delta, rule=RULE)
    np.testing.assert_array_equal(step.update.flat(), exact.update.flat())


def test_a_wide_output_is_stepped():
    net = network(sizes=(3, 4, 129))
    fwd, delta = minibatch(net, 1e-6, B=2)
    control = replace(MNIST, steps=3, integrator="averaged")
    assert dfc.update(Minibatch(net, fwd, delta, 1.0, control, RULE)).stepped == 2


def test_a_loop_that_grows_slowly_is_stepped():
    net = network()
    fwd, delta = minibatch(net, 6e-4)
    control = replace(MNIST, steps=300, transmission="delayed", proactive=False, tau_A=0.2,
                      integrator="averaged")
    assert dfc.update(Minibatch(net, fwd, delta, 1.0, control, RULE)).stepped == len(delta)


def test_an_unstable_loop_is_stepped_and_stopped():
    net = network()
    fwd, delta = minibatch(net, 1e-2)
    net.Q = [-q for q in net.Q]
    control = replace(MNIST, steps=1000, integrator="averaged")
    with pytest.raises(NumericalError, match=r"layer [123] passed"):
        dfc.update(Minibatch(net, fwd, delta, 1.0, control, RULE))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_few_samples_that_are_pushed_far_are_stepped_alone(dtype, keep):
    """The others are not; the update is that of the steps, and so is what is counted."""
    net = network().astype(dtype)
    rng = np.random.default_rng(1)
    fwd = forward(net, rng.normal(size=(24, 15)).astype(dtype))
    delta = 2e-4 * rng.normal(size=(24, 5)).astype(net.dtype)
    delta[[3, 11]] *= 300.0
    control = replace(MNIST, steps=150)
    batch = Minibatch(net, fwd, delta, 1.0, control, RULE, keep_unconverged=keep)
    exact = dfc.update(batch)
    step = dfc.update(replace(batch, control=replace(control, integrator="averaged")))
    assert 0 < step.stepped <= 3 and step.newton == 1
    assert (step.converged, step.diverged, step.neither) == \
        (exact.converged, exact.diverged, exact.neither)
    assert distance(step.update, exact.update) < 1e-4


def test_an_unstable_sample_is_stepped_alone():
    """A unit that only one sample drives out of saturation closes a loop with the wrong sign."""
    net = network(sizes=(4, 6, 3))
    net.Q = [q.copy() for q in net.Q]
    net.W[0][0], net.W[1][:, 0], net.Q[0][0] = (5.0, 0.0, 0.0, 0.0), 1.0, -8.0
    x = np.random.default_rng(2).normal(size=(20, 4))
    x[:, 0] = np.where(np.arange(20) == 7, 0.0, 4.0)
    fwd = forward(net, x)
    delta = 1e-7 * np.random.default_rng(3).normal(size=(20, 3))
    control = replace(MNIST, steps=40, k_p=0.0)
    mean = time_average(net, control, fwd, delta)
    assert list(np.flatnonzero(mean.doubtful)) == [7] and mean.estimate < TOLERANCE
    step = dfc.update(Minibatch(net, fwd, delta, 1.0, replace(control, integrator="averaged"),
                                RULE))
    exact = simulate(net, control, fwd, delta, rule=RULE).update
    assert step.stepped == 1 and distance(step.update, exact) < 1e-4


def test_counts_of_convergence_are_those_of_the_steps():
    net = network()
    fwd, delta = minibatch(net, 6e-4, B=12)
    for steps in (100, 1000, 4000):
        control = replace(MNIST, steps=steps)
        for keep in (True, False):
            batch = Minibatch(net, fwd, delta, 1.0, control, RULE, keep_unconverged=keep)
            stepped = dfc.update(batch)
            closed = dfc.update(replace(batch, control=replace(control, integrator="averaged")))
            assert (closed.converged, closed.diverged, closed.neither) == \
                (stepped.converged, stepped.diverged, stepped.neither)
            if np.abs(stepped.update.flat()).max() > 0:
                assert distance(closed.update, stepped.update) < 1e-4
            else:
                assert not closed.update.flat().any()


def test_float32_and_threads():
    net = network(sizes=(20, 40, 40, 10))
    fwd, delta = minibatch(net, 6e-4, B=33)
    exact = time_average(net, MNIST, fwd, delta, threads=1)
    two = time_average(net, MNIST, fwd, delta, threads=2)
    for a, b in zip(exact.x, two.x, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
    single = net.astype(np.float32)
    low = time_average(single, MNIST, forward(single, fwd.x.astype(np.float32)),
                       delta.astype(np.float32))
    for a, b in zip(low.x, exact.x, strict=True):
        assert np.linalg.norm(a - b) < 1e-5 * np.linalg.norm(b)


@pytest.mark.parametrize("text,fits", [
    ("eta*(rate_post - prediction_post)*rate_pre", True),
    ("eta*gain_post*(v_soma_post - v_basal_post)*rate_pre", True),
    ("eta*apical_post*rate_pre", True),
    ("eta*rate_post*rate_pre", False),
    ("eta*apical_post**2*rate_pre", False),
    ("eta*apical_post*rate_post*rate_pre", False),
    ("eta*tanh(apical_post)*rate_pre", False),
    ("eta*apical_post*rate_pre**2", False),
])
def test_rules_whose_average_is_the_rule_at_the_average(text, fits):
    assert applies(compile_rule(f"dw/dt = {text} : 1", None, {"eta": 1.0})) is fits
