"""Initial weights: their moments, their distribution, orthogonality and products."""

import numpy as np
import pytest
from scipy import stats

from dfc_neuro.initialisers._shape import Place
from dfc_neuro.registry import get, names


def draw(name, n_to, n_from, seed=0, above=()):
    module = get("initialisers", name, "w")
    return module.draw(Place(n_to, n_from, tuple(above)), np.random.default_rng(seed))


@pytest.mark.parametrize(("name", "gain", "law"), [
    ("xavier_normal", 1.0, "norm"), ("teacher", 3.0, "norm"), ("xavier_uniform", 1.0, "uniform")])
def test_independent_weights(name, gain, law):
    """Variance 2/(n_in + n_out) (Glorot and Bengio 2010), times the square of the gain."""
    w = draw(name, 300, 200)
    sd, n = gain * np.sqrt(2 / 500), w.size
    assert w.shape == (300, 200)
    assert abs(w.mean()) < 3 * sd / np.sqrt(n)
    assert abs(w.var() / sd**2 - 1) < 3 * np.sqrt(2 / n)
    frozen = stats.norm(0, sd) if law == "norm" else stats.uniform(-np.sqrt(3) * sd,
                                                                   2 * np.sqrt(3) * sd)
    assert stats.kstest(w.ravel(), frozen.cdf).pvalue > 0.01
    if law == "uniform":
        assert np.abs(w).max() < np.sqrt(6 / 500)
    np.testing.assert_array_equal(w, draw(name, 300, 200))
    assert np.abs(w - draw(name, 300, 200, seed=1)).max() > sd


@pytest.mark.parametrize(("n_to", "n_from"), [(7, 4), (4, 7), (5, 5), (1, 3)])
def test_orthogonal(n_to, n_from):
    """The smaller Gram matrix is 6/(n_in + n_out) times the unit matrix."""
    w = draw("orthogonal", n_to, n_from)
    small = w @ w.T if n_to < n_from else w.T @ w
    assert w.shape == (n_to, n_from)
    np.testing.assert_allclose(small, 6 / (n_to + n_from) * np.eye(min(n_to, n_from)), atol=1e-14)


def test_orthogonal_matrices_have_no_preferred_sign():
    first = np.array([draw("orthogonal", 3, 3, seed)[0, 0] for seed in range(400)])
    assert abs(first.mean()) < 3 * first.std() / 20
    assert abs(np.mean(first > 0) - 0.5) < 3 * 0.5 / 20


def test_fixed_patterns():
    np.testing.assert_array_equal(draw("zeros", 3, 2), [[0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(draw("identity", 3, 2), [[1, 0], [0, 1], [0, 0]])


def test_weight_product():
    """Q_1 = W_2^T W_3^T of a chain 4-3-2, and the unit matrix at the output."""
    W2, W3 = np.arange(12.0).reshape(3, 4), np.array([[1.0, 2, 3], [4, 5, 6]])
    expected = [[sum(W2[k, i] * W3[j, k] for k in range(3)) for j in range(2)] for i in range(4)]
    np.testing.assert_array_equal(draw("weight_product", 4, 2, above=[W2, W3]), expected)
    np.testing.assert_array_equal(draw("weight_product", 3, 2, above=[W3]), W3.T)
    np.testing.assert_array_equal(draw("weight_product", 2, 2), np.eye(2))


def test_each_initialiser_is_tested_here():
    assert set(names("initialisers")) == {
        "xavier_normal", "xavier_uniform", "teacher", "orthogonal", "identity", "zeros",
        "weight_product"}
