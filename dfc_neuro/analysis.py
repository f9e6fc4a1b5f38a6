"""Measures of recorded traces and spikes: what a protocol's table [measure] may ask for.

Each takes ``time`` (T,) in seconds and ``values`` (T, ...) in SI units (spike measures: the spike
times alone), works along the first axis, and returns numbers in SI units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dfc_neuro.errors import ProtocolError

Array = np.ndarray


def crossings(time: Array, values: Array, level: float, *, rising: bool = True) -> Array:
    """Return the times at which one trace (T,) crosses a level.

    Each is the root of the cubic through the four samples around it (at an end of the trace, of
    the line through two), so its error is far below the sampling step: fourth order in it.
    """
    time, y = np.asarray(time, float), np.asarray(values, float) - level
    if not rising:
        y = -y
    found = []
    for k in np.flatnonzero((y[:-1] < 0) & (y[1:] >= 0)):
        step = time[k + 1] - time[k]
        share = y[k] / (y[k] - y[k + 1])
        if 0 < k < len(y) - 2:
            share = _cubic_root(y[k - 1 : k + 3], share)
        found.append(time[k] + share * step)
    return np.array(found)


def _cubic_root(y: Array, start: float) -> float:
    """Return the root in 0..1 of the cubic through y at -1, 0, 1, 2."""
    a, b, c, d = y
    third = (d - a) / 6 + (b - c) / 2
    second = (a + c) / 2 - b
    first = c - a / 3 - b / 2 - d / 6
    low, high, x = 0.0, 1.0, start
    for _ in range(60):
        value = b + x * (first + x * (second + x * third))
        low, high = (x, high) if value < 0 else (low, x)
        slope = first + x * (2 * second + 3 * x * third)
        new = x - value / slope if slope else low
        if not low < new < high:
            new = (low + high) / 2
        if abs(new - x) < 1e-15:
            return new
        x = new
    return x


def spike_times(time: Array, values: Array | None = None, level: float = 0.0) -> Array:
    """Return recorded spike times, or the upward crossings of `level` (V) by one trace."""
    return np.sort(np.asarray(time, float)) if values is None else crossings(time, values, level)


def spike_count(time: Array, values: Array | None = None, level: float = 0.0) -> float:
    """Return how many spikes there are; see `spike_times`."""
    return float(len(spike_times(time, values, level)))


def first_spike(time: Array, values: Array | None = None, level: float = 0.0) -> float:
    """Return the time of the first spike, NaN when there is none."""
    found = spike_times(time, values, level)
    return float(found[0]) if len(found) else float("nan")


def firing_rate(time: Array, start: float, stop: float) -> float:
    """Return spikes per second of recorded spikes from `start` to `stop` (s)."""
    inside = (np.asarray(time) >= start) & (np.asarray(time) < stop)
    return float(inside.sum() / (stop - start))


def _events(time: Array, unit: Array, start: float, stop: float, gap: float) -> tuple[int, int]:
    """Return how many events and how many bursts there are from `start` to `stop` (s)."""
    order = np.lexsort((time, unit))
    time, unit = np.asarray(time, float)[order], np.asarray(unit)[order]
    near = (np.diff(time) <= gap * (1 + 1e-9)) & (np.diff(unit) == 0)
    event = ~np.concatenate([[False], near]) & (time >= start) & (time < stop)
    return int(event.sum()), int((event & np.concatenate([near, [False]])).sum())


def event_rate(time: Array, unit: Array, start: float, stop: float, gap: float = 0.016,
               cells: float = 1) -> float:
    """Return events per second and cell from `start` to `stop` (s).

    An event is a spike that comes more than `gap` (s) after the last one of its cell (Naud and
    Sprekeler 2018, doi:10.1073/pnas.1720995115).
    """
    return _events(time, unit, start, stop, gap)[0] / (stop - start) / cells


def burst_probability(time: Array, unit: Array, start: float, stop: float, gap: float = 0.016
                      ) -> float:
    """Return the share of events (see `event_rate`) that another spike follows within `gap` (s)."""
    events, bursts = _events(time, unit, start, stop, gap)
    return bursts / events if events else float("nan")


def peak(time: Array, values: Array, start: float = -np.inf, stop: float = np.inf) -> Array:
    """Return the largest value, of those from `start` to `stop` (s)."""
    return _window(time, values, start, stop)[1].max(axis=0)


def peak_time(time: Array, values: Array, start: float = -np.inf, stop: float = np.inf) -> Array:
    """Return when the largest value is reached first."""
    part, inside = _window(time, values, start, stop)
    return part[inside.argmax(axis=0)]


def minimum(time: Array, values: Array, start: float = -np.inf, stop: float = np.inf) -> Array:
    """Return the smallest value, of those from `start` to `stop` (s)."""
    return _window(time, values, start, stop)[1].min(axis=0)


def mean(time: Array, values: Array, start: float = -np.inf, stop: float = np.inf) -> Array:
    """Return the mean over time, by the trapezoidal rule, from `start` to `stop` (s)."""
    part, inside = _window(time, values, start, stop)
    return np.trapezoid(inside, part, axis=0) / (part[-1] - part[0])


def amplitude(time: Array, values: Array, baseline: float) -> Array:
    """Return the largest value after the time `baseline` (s), from the last value before it."""
    time, values = np.asarray(time), np.asarray(values, float)
    before = values[time <= baseline]
    return values[time > baseline].max(axis=0) - before[-1]


def final(time: Array, values: Array) -> Array:
    """Return the last value."""
    return np.asarray(values, float)[-1]


def time_above(time: Array, values: Array, level: float) -> Array:
    """Return how long the trace is above `level`: crossings as of straight lines."""
    time, y = np.asarray(time, float), np.asarray(values, float) - level
    step = np.diff(time).reshape((-1,) + (1,) * (y.ndim - 1))
    above, below = np.maximum(y, 0.0), np.maximum(-y, 0.0)
    up = above[:-1] + above[1:]
    total = up + below[:-1] + below[1:]
    share = np.divide(up, total, out=np.zeros_like(up), where=total > 0)
    return (step * share).sum(axis=0)


def correlation(time: Array, values: Array, other: Array, start: float = -np.inf,
                stop: float = np.inf, shift: float = 0.0) -> float:
    """Return the correlation over time of two traces (T,), from `start` to `stop` (s).

    With a `shift` the second one is taken so much later.
    """
    first = _window(time, values, start, stop)[1]
    second = _window(time, other, start + shift, stop + shift)[1]
    n = min(len(first), len(second))
    return float(np.corrcoef(first[:n], second[:n])[0, 1])


CHANGES: dict[str, Callable[[Array, Array], Array]] = {
    "absolute": lambda before, change: change,
    "relative": lambda before, change: change / before,
    "ratio": lambda before, change: 1.0 + change / before,
    "percent": lambda before, change: 100.0 * (1.0 + change / before),
}


def weight_change(time: Array, values: Array, kind: str = "absolute", times: float = 1.0) -> Array:
    """Return how the last value differs from the first.

    Parameters
    ----------
    kind : str
        "absolute": after - before; "relative": that over before; "ratio": after / before;
        "percent": of the value before, so that 100 is no change.
    times : float
        As if what was simulated were repeated so often.
    """
    values = np.asarray(values, float)
    return CHANGES[kind](values[0], times * (values[-1] - values[0]))


def potentiation(time: Array, values: Array) -> Array:
    """Return the sum of all rises from one sample to the next."""
    return np.maximum(np.diff(np.asarray(values, float), axis=0), 0.0).sum(axis=0)


def depression(time: Array, values: Array) -> Array:
    """Return the sum of all falls from one sample to the next, negative."""
    return np.minimum(np.diff(np.asarray(values, float), axis=0), 0.0).sum(axis=0)


MEASURES: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        spike_times,
        spike_count,
        first_spike,
        firing_rate,
        event_rate,
        burst_probability,
        peak,
        peak_time,
        minimum,
        mean,
        amplitude,
        final,
        time_above,
        weight_change,
        correlation,
        potentiation,
        depression,
    )
}


def _window(time: Array, values: Array, start: float, stop: float) -> tuple[Array, Array]:
    """Return the part of a trace from start to stop."""
    time, values = np.asarray(time, float), np.asarray(values, float)
    inside = (time >= start) & (time <= stop)
    if not inside.any():
        raise ProtocolError(
            "measure", f"nothing is recorded from {start:g} s to {stop:g} s", "widen from and to"
        )
    return time[inside], values[inside]
