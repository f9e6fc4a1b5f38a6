"""Measures against curves whose crossings, peaks and areas are known."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from dfc_neuro import analysis, measures
from dfc_neuro.errors import ProtocolError


def test_crossings_of_a_sine_are_of_fourth_order():
    # sin(t) rises through 0.3 at asin(0.3) + 2 pi k
    known = np.arcsin(0.3) + 2 * np.pi * np.arange(1, 4)
    errors = []
    for n in (100, 200, 400, 800):
        t = np.linspace(1.0, 21.0, n + 1)
        found = analysis.crossings(t, np.sin(t), 0.3)
        assert len(found) == 3
        errors.append(np.abs(found - known).max())
    slope = np.polyfit(np.log([8, 4, 2, 1]), np.log(errors), 1)[0]
    assert 3.6 < slope < 4.4 and errors[-1] < 1e-8
    falling = analysis.crossings(t, np.sin(t), 0.3, rising=False)
    np.testing.assert_allclose(
        falling, np.pi - np.arcsin(0.3) + 2 * np.pi * np.arange(3), atol=1e-8
    )


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.05, 0.95))
def test_crossing_of_a_cubic_is_exact(b, c, root):
    t = np.arange(-1.0, 3.0)
    found = analysis.crossings(t, (t - root) * (40 + b * t + c * t**2), 0.0)
    assert len(found) == 1 and abs(found[0] - root) < 1e-12


def test_crossing_at_the_ends_is_linear():
    assert analysis.crossings([0.0, 1.0], [-1.0, 3.0], 0.0).tolist() == [0.25]
    assert analysis.crossings([0.0, 1.0, 2.0], [0.0, 1.0, 0.0], 0.0).tolist() == []


def test_time_above_a_triangle_and_a_sine():
    t = np.array([0.0, 1.0, 2.0])
    triangle = np.array([[0.0, 0.0], [1.0, -1.0], [0.0, 0.0]])
    assert analysis.time_above(t, triangle, 0.25).tolist() == [1.5, 0.0]
    assert analysis.time_above(t, triangle, -2.0).tolist() == [2.0, 2.0]
    assert analysis.time_above(t, np.full(3, 0.25), 0.25) == 0.0
    fine = np.linspace(0, 2 * np.pi, 20001)
    above = analysis.time_above(fine, np.sin(fine), 0.5)
    assert abs(above - (np.pi - 2 * np.arcsin(0.5))) < 1e-7


def test_simple_measures():
    t = np.array([0.0, 1.0, 3.0, 4.0])
    v = np.array([[1.0, -2.0], [5.0, 0.0], [3.0, 4.0], [-1.0, 4.0]])
    assert analysis.peak(t, v).tolist() == [5.0, 4.0]
    assert analysis.peak_time(t, v).tolist() == [1.0, 3.0]
    assert analysis.minimum(t, v, stop=3.0).tolist() == [1.0, -2.0]
    assert analysis.mean(t, v).tolist() == [(3 + 8 + 1) / 4, (-1 + 4 + 4) / 4]
    assert analysis.amplitude(t, v, 0.5).tolist() == [4.0, 6.0]
    assert analysis.final(t, v).tolist() == [-1.0, 4.0]
    assert analysis.weight_change(t, v).tolist() == [-2.0, 6.0]
    assert analysis.weight_change(t, v[:, 0], "percent") == -100.0
    assert analysis.weight_change(t, [2.0, 3.0], "relative") == 0.5
    assert analysis.weight_change(t, [2.0, 3.0], "ratio") == 1.5
    assert analysis.spike_times([0.3, 0.1]).tolist() == [0.1, 0.3]
    assert analysis.spike_count([0.3, 0.1]) == 2 and analysis.first_spike([0.3, 0.1]) == 0.1
    assert np.isnan(analysis.first_spike([]))
    assert analysis.firing_rate([0.1, 0.2, 0.6], 0.0, 0.5) == 4.0


def test_evaluate_reads_quantities():
    t = np.array([0.0, 0.01, 0.02])
    v = np.array([-0.07, -0.03, -0.07])
    assert measures.evaluate("time_above", t, v, {"level": "-50 mV"}, "p") == pytest.approx(0.01)
    assert measures.evaluate("peak", t, v, {"from": "15 ms"}, "p") == -0.07
    assert measures.evaluate("weight_change", t, v, {"as": "percent"}, "p") == 100.0
    assert measures.evaluate("spike_times", t, None, {}, "p").tolist() == t.tolist()
    rate = measures.evaluate("firing_rate", t, None, {"from": "0 ms", "to": "15 ms"}, "p")
    assert rate == pytest.approx(2 / 0.015)


@pytest.mark.parametrize(
    ("name", "values", "options", "message"),
    [
        ("peaks", True, {}, "p.toml, measure.x: unknown measure 'peaks'; did you mean 'peak'"),
        ("peak", False, {}, "'peak' needs a trace, not spikes"),
        ("firing_rate", True, {}, "'firing_rate' needs spikes, not a trace"),
        ("time_above", True, {}, "'time_above' needs 'level'"),
        ("time_above", True, {"levle": 1}, "measure.x, levle: .* did you mean 'level'"),
        ("peak", True, {"form": 1}, "'peak' has no such option; did you mean 'from'"),
        ("peak", True, {"from": "1 second"}, "nothing is recorded from 1 s to inf s"),
        ("weight_change", True, {"as": "persent"}, "did you mean 'percent'"),
    ],
)
def test_wrong_measures_are_refused(name, values, options, message):
    t = np.array([0.0, 0.1])
    with pytest.raises(ProtocolError, match=message):
        measures.evaluate(name, t, t if values else None, options, "p.toml, measure.x")


def test_events_and_bursts():
    """Two cells: bursts of two and three, single spikes, a gap of just 16 ms still one burst."""
    first = [0.100, 0.110, 0.200, 0.300, 0.316, 0.325]
    second = [0.105, 0.400, 0.4161]
    time, unit = np.array(first + second), np.array([0] * 6 + [1] * 3)
    shuffled = np.random.default_rng(0).permutation(9)
    time, unit = time[shuffled], unit[shuffled]
    # events: 100, 200, 300 of the first cell; 105, 400, 416.1 of the second
    assert analysis.event_rate(time, unit, 0, 0.5) == pytest.approx(6 / 0.5)
    assert analysis.event_rate(time, unit, 0.15, 0.35, cells=2) == pytest.approx(2 / 0.2 / 2)
    assert analysis.burst_probability(time, unit, 0, 0.5) == pytest.approx(2 / 6)
    assert analysis.burst_probability(time, unit, 0.15, 0.35) == pytest.approx(1 / 2)
    assert analysis.burst_probability(time, unit, 0, 0.5, gap=0.017) == pytest.approx(3 / 5)
    assert np.isnan(analysis.burst_probability(time, unit, 0.45, 0.5))
