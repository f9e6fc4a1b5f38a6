"""The noisy feedback update of the linearised network against Euler steps of the network."""

from dataclasses import replace

import numpy as np
import pytest

from dfc_neuro.errors import EngineError, NumericalError
from dfc_neuro.rates import noisy
from dfc_neuro.rates.compile import compile_rule
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.expected import expected_update
from dfc_neuro.rates.network import Network, forward
from dfc_neuro.rates.noisy import applies, noisy_update
from dfc_neuro.rates.simulate import simulate

SCALE = 0.2
FEEDBACK = compile_rule("dw/dt = -apical_post*u_next_pre/noise_scale**2 : 1", None,
                        {"noise_scale": SCALE})
MNIST = Control(alpha=0.6134, k_p=0.1565, dt=0.00203, steps=48, tau=0.0063, tau_A=0.3247,
                sigma=0.0015, sigma_output=0.0015)
SETTINGS = {
    "published": MNIST,
    "delayed": replace(MNIST, transmission="delayed"),
    "proactive": replace(MNIST, proactive=True),
    "both": replace(MNIST, transmission="delayed", proactive=True),
    "fast apical": replace(MNIST, tau_A=0.0),
    "instant": replace(MNIST, instant_system=True, k_p=0.0, tau_A=0.1),
    "exponential steps": replace(MNIST, integrator="fast"),
    "silent output": replace(MNIST, sigma_output=0.0),
    "long": replace(MNIST, steps=300, dt=0.01, tau=0.02),
    "two steps": replace(MNIST, steps=3),
    "one step": replace(MNIST, steps=2),
}


def network(sizes=(15, 10, 8, 5), phi="tanh", seed=0):
    rng = np.random.default_rng(seed)
    W = [rng.normal(0, np.sqrt(2 / (n + m)), (n, m))
         for n, m in zip(sizes[1:], sizes, strict=False)]
    Q = [rng.normal(0, 0.5, (n, sizes[-1])) for n in sizes[1:]]
    b = [0.1 * rng.normal(size=n) for n in sizes[1:]]
    return Network(W, b, Q, (phi,) * (len(W) - 1) + ("linear",))


def passed(net, B=21):
    return forward(net, np.random.default_rng(1).normal(size=(B, net.sizes[0])).astype(net.dtype))


def stepped(net, control, fwd, **noise):
    return simulate(net, control, fwd, np.zeros_like(fwd.r[-1]), rule=FEEDBACK, **noise).dW


def distance(found, wanted):
    return max(np.linalg.norm(a - b) / np.linalg.norm(b)
               for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", SETTINGS)
def test_equal_to_steps_for_a_linear_network(name):
    net, control = network(phi="linear"), SETTINGS[name]
    fwd, samples = passed(net), np.arange(100, 121)
    found = noisy_update(net, control, fwd, FEEDBACK, seed=3, samples=samples)
    wanted = stepped(net, control, fwd, seed=3, samples=samples)
    if control.steps == 2:  # nothing has reached the control yet
        assert all(not part.any() for part in (*found, *wanted))
        return
    size = max(np.abs(part).max() for part in wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * size)


@pytest.mark.parametrize("sizes", [(4, 3), (5, 1, 2), (3, 4, 4, 4, 4, 4, 1), (6, 30, 17)])
def test_any_depth_and_width_and_given_noise(sizes):
    net = network(sizes, "linear")
    fwd, rng = passed(net, 5), np.random.default_rng(0)
    noise = [rng.normal(size=(47, 5, n)) for n in sizes[1:]]
    found = noisy_update(net, MNIST, fwd, FEEDBACK, noise=noise)
    assert distance(found, stepped(net, MNIST, fwd, noise=noise)) < 1e-11


@pytest.mark.parametrize("phi", ["tanh", "sigmoid"])
def test_what_the_nonlinearity_adds_is_of_first_order_in_the_noise(phi):
    net = network(phi=phi)
    fwd = passed(net)
    apart = []
    for sigma in (1e-2, 1e-3, 1e-4):
        control = replace(MNIST, sigma=sigma, sigma_output=sigma)
        apart.append(distance(noisy_update(net, control, fwd, FEEDBACK, seed=3),
                              stepped(net, control, fwd, seed=3)))
    assert apart[0] < 0.05
    np.testing.assert_allclose(-np.diff(np.log10(apart)), 1.0, atol=0.05)


def test_its_mean_over_draws_is_the_expected_update():
    """Within five standard errors, weight by weight; every draw by itself is far from it."""
    net, control = network(), replace(MNIST, steps=60, dt=0.01, tau=0.02, k_p=0.5)
    fwd = passed(net)
    wanted = expected_update(net, control, fwd, noise_scale=SCALE, terms=0).dQ
    draws = [noisy_update(net, control, fwd, FEEDBACK, seed=seed) for seed in range(400)]
    for layer, mean in zip(zip(*draws, strict=True), wanted, strict=True):
        error = np.std(layer, axis=0) / np.sqrt(len(draws))
        assert np.all(np.abs(np.mean(layer, axis=0) - mean) < 5 * error)
    assert distance(draws[0], wanted) > 0.3


def test_float32_and_threads():
    net = network((20, 40, 30, 10))
    fwd = passed(net, 70)
    wide = noisy_update(net, MNIST, fwd, FEEDBACK, seed=5)
    small = net.astype(np.float32)
    own = passed(small, 70)
    found = [noisy_update(small, MNIST, own, FEEDBACK, seed=5, threads=n) for n in (1, 2)]
    for one, two in zip(*found, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, two)
    assert distance(found[0], wide) < 1e-5


def test_where_it_applies(monkeypatch):
    net = network()
    assert applies(FEEDBACK, net, MNIST)
    other = compile_rule("dw/dt = -apical_post*u_pre : 1", None, {})  # the control of the old time
    assert not applies(other, net, MNIST)
    with pytest.raises(EngineError, match="is not minus the apical voltage times the next control"):
        noisy_update(net, MNIST, passed(net), other, seed=0)
    monkeypatch.setattr(noisy, "MOST", 48 * 23 - 1)
    assert not applies(FEEDBACK, net, MNIST)


def test_a_loop_that_grows_beyond_all_numbers_is_said():
    net = network()
    net.Q = [-1e3 * Q for Q in net.Q]
    wild = replace(MNIST, steps=3000, dt=0.2)
    with pytest.raises(NumericalError, match="the feedback loop is unstable within the 2999 steps"):
        noisy_update(net, wild, passed(net, 2), FEEDBACK, seed=0)
