"""Noise from a counter: published known answers, the normal law, and what it depends on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dfc_neuro.rates import _noise
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import forward
from dfc_neuro.rates.simulate import simulate

NOISY = Control(alpha=0.6, k_p=0.15, dt=0.002, steps=25, tau=0.0063, tau_A=0.32, sigma=0.05,
                sigma_output=0.02)


@pytest.mark.parametrize(("key", "counter", "words"), [
    (("00000000", "00000000"), ("00000000", "00000000"), ("9d1c5ec6", "8bd50731")),
    (("ffffffff", "ffffffff"), ("ffffffff", "ffffffff"), ("fd36d048", "2d17272c")),
    (("13198a2e", "03707344"), ("243f6a88", "85a308d3"), ("ba3e4725", "f27d669e")),
])
def test_known_answers_of_threefry(key, counter, words):
    """kat_vectors of Random123 (Salmon, Moraes, Dror & Shaw 2011), threefry2x32, 13 rounds."""
    given = [np.uint32(int(word, 16)) for word in (*key, *counter)]
    assert [f"{int(word):08x}" for word in _noise.threefry(*given)] == list(words)


def made(steps, units, seed=7, samples=(3,), first=0, dtype=np.float32):
    """Normals of some samples: (steps, samples, units)."""
    words, normals = np.empty((2, units), np.uint32), np.empty((3, units), np.float32)
    out = np.zeros((steps, len(samples) * units), dtype)
    for t in range(steps):
        _noise.add_normals(out[t], units, dtype(1.0), seed, np.array(samples), t, first, words,
                           normals)
    return out.reshape(steps, len(samples), units).astype(np.float64)


def test_the_normal_law():
    x = made(1000, 301).ravel()  # seed 7, always the same numbers
    n = x.size
    assert abs(x.mean()) < 3 / np.sqrt(n)
    assert abs(x.var() - 1) < 3 * np.sqrt(2 / n)
    assert abs((x**3).mean()) < 3 * np.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 3 * np.sqrt(96 / n)
    assert stats.kstest(x, "norm").pvalue > 0.01
    assert 4.0 < np.abs(x).max() < 6.0
    tail = np.mean(np.abs(x) > 3.0)
    assert abs(tail - 2 * stats.norm.sf(3)) < 3 * np.sqrt(2 * stats.norm.sf(3) / n)


def test_units_steps_samples_and_seeds_are_independent():
    x = made(2000, 41, samples=(0, 1))
    flat = x.reshape(2000, -1)
    correlation = np.corrcoef(flat.T)[np.triu_indices(82, 1)]
    # 3321 correlations of 2000 draws each: deviation 1/sqrt(2000), the largest at 4 deviations
    assert np.abs(correlation).max() < 4.6 / np.sqrt(2000)
    assert abs(correlation.std() * np.sqrt(2000) - 1) < 0.05
    lagged = np.mean(flat[1:] * flat[:-1], axis=0)
    assert np.abs(lagged).max() < 4.6 / np.sqrt(2000)
    other = made(2000, 41, seed=8, samples=(0, 1)).reshape(2000, -1)
    assert np.abs(np.mean(flat * other, axis=0)).max() < 4.6 / np.sqrt(2000)


def test_normals_are_box_muller_of_the_words():
    """Against the library's logarithm, sine and cosine, from the same words."""
    units = 400
    words = np.array([_noise.threefry(np.uint32(7), np.uint32(3), np.uint32(0), np.uint32(i))
                      for i in range(units // 2)], np.uint64)
    uniform = ((words[:, 0] >> np.uint64(9)).astype(float) + 0.5) * 2.0**-23
    angle = 2 * np.pi * (words[:, 1] >> np.uint64(8)).astype(float) * 2.0**-24
    radius = np.sqrt(-2 * np.log(uniform))
    expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    np.testing.assert_allclose(made(1, units)[0, 0], expected, atol=4e-6)


@pytest.mark.parametrize("units", [1, 2, 7])
def test_each_unit_has_a_number_whatever_the_layer_is(units):
    assert len(np.unique(made(3, units))) == 3 * units


def test_apical_noise_is_the_ou_process_of_its_constants(network):
    """sigma sqrt(dt)/tau_A a step: variance sigma^2/(2 tau_A) when settled; exact for `fast`."""
    net = network([3, 60, 2], ["tanh", "linear"], 0)
    net = replace(net, Q=[0 * q for q in net.Q])
    fwd = forward(net, np.zeros((60, 3)))
    for integrator in ("euler", "fast"):
        c = replace(NOISY, tau_A=0.05, dt=0.01, steps=60, integrator=integrator, tau=1.0)
        end = simulate(net, c, fwd, np.zeros((60, 2)), seed=11)
        for layer, sigma in ((0, 0.05), (1, 0.02)):
            keep = 1 - 0.01 / 0.05 if integrator == "euler" else np.exp(-0.01 / 0.05)
            step = (sigma**2 * 0.01 / 0.05**2 if integrator == "euler"
                    else sigma**2 / (2 * 0.05) * (1 - keep**2))
            wanted = step * (1 - keep ** (2 * 59)) / (1 - keep**2)
            count = end.apical[layer].size
            assert abs(end.apical[layer].var() / wanted - 1) < 3.5 * np.sqrt(2 / count)


@pytest.fixture(scope="module")
def minibatch(network):
    net = network([5, 12, 9, 4], ["tanh", "tanh", "linear"], 1)
    return net, np.random.default_rng(2).normal(size=(70, 5))


def run(net, x, samples=None, seed=5, **options):
    fwd = forward(net, x)
    return simulate(net, NOISY, fwd, np.zeros_like(fwd.r[-1]), seed=seed, samples=samples,
                    **options)


def test_a_sample_keeps_its_noise_in_any_company(minibatch):
    net, x = minibatch
    whole = run(net, x)
    rows = np.array([69, 3, 40, 12])
    few = run(net, x[rows], samples=rows)
    for i in range(3):
        np.testing.assert_allclose(few.apical[i], whole.apical[i][rows], rtol=0, atol=1e-14)
        np.testing.assert_allclose(few.x[i], whole.x[i][rows], rtol=0, atol=1e-14)
        assert np.abs(whole.apical[i]).max() > 0.01
    shifted = run(net, x[rows], samples=rows + 1)
    assert np.abs(shifted.apical[0] - few.apical[0]).max() > 0.01


def test_seeds_and_threads(minibatch, shipped_rule):
    net, x = minibatch
    rule = shipped_rule("dfc_feedback", 0.05)
    one, two, again = (run(net, x, rule=rule, threads=n).dW for n in (1, 2, 2))
    for a, b, c in zip(one, two, again, strict=True):
        np.testing.assert_array_equal(b, c)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(a).max())
    other = run(net, x, rule=rule, seed=6).dW
    assert all(np.abs(a - b).max() > 0.01 * np.abs(a).max()
               for a, b in zip(one, other, strict=True))


def test_forward_update_with_one_and_two_threads(minibatch, shipped_rule):
    net, x = minibatch
    c = Control(alpha=1e-3, k_p=2.0, dt=0.02, steps=50, tau=0.2, proactive=True)
    delta = np.random.default_rng(3).normal(size=(70, 4))
    fwd = forward(net, x)
    rule = shipped_rule("dfc_forward")
    one, two, again = (simulate(net, c, fwd, delta, rule=rule, threads=n).update.flat()
                       for n in (1, 2, 2))
    np.testing.assert_array_equal(two, again)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-12 * np.abs(one).max())
