"""Comparisons across seeds against closed forms and values computed elsewhere."""

import numpy as np
import pytest
from scipy import stats

from dfc_neuro.statistics import comparison, estimate, paired


def test_mean_and_deviation():
    found = estimate([1.0, 2.0, 4.0])
    assert (found.n, found.mean) == (3, pytest.approx(7 / 3))
    assert found.sd == pytest.approx(np.sqrt(7 / 3))  # of n - 1
    assert 1.0 <= found.low < found.mean < found.high <= 4.0


def test_the_interval_of_many_values_is_that_of_the_central_limit():
    x = np.random.default_rng(3).gamma(4.0, size=500)
    found = estimate(x, 0.9)
    half = stats.norm.ppf(0.95) * x.std(ddof=1) / np.sqrt(len(x))
    assert found.low == pytest.approx(x.mean() - half, abs=0.12 * half)
    assert found.high == pytest.approx(x.mean() + half, abs=0.12 * half)
    assert estimate(x, 0.9) == found  # the same values, the same interval


def test_too_few_values_have_no_interval():
    assert np.isnan([estimate([3.0]).low, estimate([3.0]).sd, estimate([]).mean]).all()
    assert (estimate([3.0]).text(), estimate([]).text()) == ("3", "-")


def test_equal_values_have_an_interval_without_width():
    found = estimate([0.1 + 0.2, 0.3, 0.3])
    assert found.low == found.high == pytest.approx(0.3)


def test_differences_are_paired_by_seed():
    """The pairs differ by 1 to within 0.02, the groups overlap wholly."""
    a = {0: 10.0, 1: 20.0, 2: 35.0, 3: 31.0, 9: 500.0}
    b = {3: 29.99, 2: 34.02, 1: 19.0, 0: 9.01, 7: -500.0}
    found = paired(a, b)
    assert found.n == 4 and found.mean == pytest.approx(0.995)
    assert 0.97 < found.low < found.high < 1.02
    assert paired(a, {}).text() == "-"


def test_a_table_has_the_first_group_as_its_reference():
    lines = comparison({"first": {0: 1.0, 1: 2.0}, "second": {0: 3.0, 1: 4.5}, "one": {1: 7.0}})
    assert lines[0].split() == ["seeds", "mean", "[95", "%]", "minus", "first,", "paired", "[95",
                                "%]"]
    assert lines[1].split() == ["first", "2", "1.5", "[1,", "2]"]
    assert lines[2].split() == ["second", "2", "3.75", "[3,", "4.5]", "2.25", "[2,", "2.5]"]
    assert lines[3].split() == ["one", "1", "7", "5"]
    assert len(comparison({"alone": {0: 1.0}})) == 2
