"""Stimuli as functions of the time step: the value in a step is the mean over that step.

The mean is exact for steps, pulses and double exponentials, so their charge does not depend on dt
and edges need not lie on the grid; and a value that is constant within a step costs no order of a
Runge-Kutta method.  All quantities are plain numbers in SI units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Window = tuple[float, float, float]  # from, to (seconds), value
GRID = 1e-6  # edges nearer to the grid than this fraction of a step lie on it


def _grid(time: float, dt: float) -> float:
    """Return a time in steps, on the grid when it is meant to be."""
    step = time / dt
    if np.isinf(step):
        return step
    nearest = np.rint(step)
    return float(nearest if abs(step - nearest) < GRID else step)


def levels(windows: Sequence[Window], dt: float) -> list[tuple[int, float]]:
    """Return the steps at which a sum of windows changes, with its mean over a step from there."""
    spans = [(_grid(max(start, 0.0), dt), _grid(stop, dt), value) for start, stop, value in windows]
    edges = {0}
    for start, stop, _ in spans:
        for edge in (start, stop):
            if np.isfinite(edge):
                edges.update((int(np.floor(edge)), int(np.floor(edge)) + 1))
    out: list[tuple[int, float]] = []
    for step in sorted(edges):
        mean = sum(value * max(0.0, min(stop, step + 1) - max(start, step))
                   for start, stop, value in spans)
        if not out or mean != out[-1][1]:
            out.append((step, mean))
    return out


class Waveform:
    """Writes a variable at the start of a step."""

    def __call__(self, step: int) -> None:
        """Write the value of a step; steps come in their order."""
        raise NotImplementedError

    def until(self, step: int) -> float:
        """Return the step, after this one, until which the value stays as it was written."""
        return step + 1


@dataclass
class Piecewise(Waveform):
    """Windows of constant value, for each unit; changes the array only where it changes.

    Parameters
    ----------
    array : (units,)
        The variable of the group that is written.
    windows : list of lists of (from, to, value), one list a unit
    dt : float
    """

    array: Array
    windows: Sequence[Sequence[Window]]
    dt: float

    def __post_init__(self) -> None:
        changes = sorted((step, unit, value) for unit, own in enumerate(self.windows)
                         for step, value in levels(own, self.dt))
        self._changes, self._next = changes, 0

    def __call__(self, step: int) -> None:
        while self._next < len(self._changes) and self._changes[self._next][0] <= step:
            _, unit, value = self._changes[self._next]
            self.array[unit] = value
            self._next += 1

    def until(self, step: int) -> float:
        return self._changes[self._next][0] if self._next < len(self._changes) else np.inf


@dataclass
class DoubleExponential(Waveform):
    """Differences of two exponentials with a given peak, one for each unit.

    Parameters
    ----------
    array : (units,)
        The variable of the group that is written.
    starts : list of (n,) arrays, one a unit
        Onsets; overlapping ones add.
    peak, tau_rise, tau_decay : (units,)
        Peak of a single one and the two time constants, tau_rise < tau_decay.
    dt : float

    Notes
    -----
    s(t) = a (exp(-t/tau_decay) - exp(-t/tau_rise)), its maximum at
    t = ln(tau_decay/tau_rise) tau_rise tau_decay/(tau_decay - tau_rise).
    """

    array: Array
    starts: Sequence[Array]
    peak: Array
    tau_rise: Array
    tau_decay: Array
    dt: float

    def __post_init__(self) -> None:
        at = (np.log(self.tau_decay / self.tau_rise) * self.tau_rise * self.tau_decay
              / (self.tau_decay - self.tau_rise))
        self._scale = self.peak / (np.exp(-at / self.tau_decay) - np.exp(-at / self.tau_rise))
        self._onsets = sorted((float(t), unit) for unit, own in enumerate(self.starts) for t in own)
        self._next = 0
        self._slow = np.zeros(len(self.array))  # value of each exponential at the start of a step
        self._fast = np.zeros(len(self.array))
        self._keep = np.exp(-self.dt / self.tau_decay), np.exp(-self.dt / self.tau_rise)
        self._quiet = True

    def __call__(self, step: int) -> None:
        time = step * self.dt
        due = self._next < len(self._onsets) and self._onsets[self._next][0] < time + self.dt
        if self._quiet and not due:
            return
        slow, fast = self._slow, self._fast
        mean = (slow * self.tau_decay * (1.0 - self._keep[0])
                - fast * self.tau_rise * (1.0 - self._keep[1])) / self.dt
        slow *= self._keep[0]
        fast *= self._keep[1]
        while self._next < len(self._onsets) and self._onsets[self._next][0] < time + self.dt:
            onset, unit = self._onsets[self._next]
            left = time + self.dt - max(onset, 0.0)
            slow_end = np.exp(-left / self.tau_decay[unit])
            fast_end = np.exp(-left / self.tau_rise[unit])
            mean[unit] += (self.tau_decay[unit] * (1.0 - slow_end)
                           - self.tau_rise[unit] * (1.0 - fast_end)) / self.dt
            slow[unit] += slow_end
            fast[unit] += fast_end
            self._next += 1
        self._quiet = bool(slow.max() < 1e-30)
        self.array[:] = 0.0 if self._quiet else self._scale * mean

    def until(self, step: int) -> float:
        if not self._quiet:
            return step + 1
        if self._next == len(self._onsets):
            return np.inf
        return max(step + 1, np.floor(self._onsets[self._next][0] / self.dt) - 1)


@dataclass
class White(Waveform):
    """Gaussian noise about a mean, one draw a step, inside a window.

    Parameters
    ----------
    array : (units,)
        The variable of the group that is written.
    mean, sigma : (units,)
        Mean and standard deviation of the value in a step.
    start, stop : (units,)
        Window in seconds.
    rng : numpy.random.Generator
    dt : float
    """

    array: Array
    mean: Array
    sigma: Array
    start: Array
    stop: Array
    rng: np.random.Generator
    dt: float

    def __post_init__(self) -> None:
        self._first = np.array([_grid(t, self.dt) for t in self.start])
        self._last = np.array([_grid(t, self.dt) for t in self.stop])

    def __call__(self, step: int) -> None:
        inside = (self._first <= step) & (step < self._last)
        value = self.mean + self.sigma * self.rng.standard_normal(len(self.array))
        self.array[:] = np.where(inside, value, 0.0)

    def until(self, step: int) -> float:
        return step + 1 if np.any(self._last > step) else np.inf  # a draw a step, also before


@dataclass
class OrnsteinUhlenbeck(White):
    """Noise that forgets exponentially; one draw a step, from its stationary state.

    Parameters as of `White`; `sigma` is the standard deviation of the stationary state, and

    tau : (units,)
        Time constant in seconds.

    Notes
    -----
    x(t + dt) = x(t) exp(-dt/tau) + sigma sqrt(1 - exp(-2 dt/tau)) n, exact at the steps whatever
    dt is (Gillespie 1996, doi:10.1103/PhysRevE.54.2084); within a step the value of its start is
    held.
    """

    tau: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep = np.exp(-self.dt / self.tau)
        self._draw = self.sigma * np.sqrt(-np.expm1(-2 * self.dt / self.tau))
        self._x = self.sigma * self.rng.standard_normal(len(self.array))

    def __call__(self, step: int) -> None:
        inside = (self._first <= step) & (step < self._last)
        self.array[:] = np.where(inside, self.mean + self._x, 0.0)
        self._x *= self._keep
        self._x += self._draw * self.rng.standard_normal(len(self.array))


@dataclass
class Patterns(Waveform):
    """A value for each unit, held for a while, then the next pattern; 0 outside the window.

    Parameters
    ----------
    array : (replicas * n,)
        The variable of the group that is written.
    values : (replicas, patterns, n)
    order : (presentations,)
        Which pattern is shown, from the start of the window on.
    width : (replicas,)
        How long each is shown, in seconds.
    start, stop : (replicas,)
        Window in seconds.
    dt : float
    """

    array: Array
    values: Array
    order: Array
    width: Array
    start: Array
    stop: Array
    dt: float

    def __post_init__(self) -> None:
        self._views = self.array.reshape(len(self.values), -1)
        self._shown = np.full(len(self.values), -2)

    def __call__(self, step: int) -> None:
        now = (step + 0.5) * self.dt
        for r, view in enumerate(self._views):
            inside = self.start[r] <= now < self.stop[r]
            k = int((now - self.start[r]) / self.width[r]) if inside else -1
            if k != self._shown[r]:
                self._shown[r] = k
                view[:] = self.values[r, self.order[k]] if inside else 0.0


@dataclass
class Sine(Waveform):
    """A sine about a mean, its mean over each step, inside a window.

    Parameters
    ----------
    array : (units,)
        The variable of the group that is written.
    mean, height, frequency : (units,)
        mean + height sin(2 pi frequency (t - start)).
    start, stop : (units,)
        Window in seconds.
    dt : float
    """

    array: Array
    mean: Array
    height: Array
    frequency: Array
    start: Array
    stop: Array
    dt: float

    def __post_init__(self) -> None:
        self._first = np.array([_grid(t, self.dt) for t in self.start])
        self._last = np.array([_grid(t, self.dt) for t in self.stop])
        self._height = self.height * np.sinc(self.frequency * self.dt)

    def __call__(self, step: int) -> None:
        inside = (self._first <= step) & (step < self._last)
        phase = 2 * np.pi * self.frequency * ((step + 0.5) * self.dt - self.start)
        self.array[:] = np.where(inside, self.mean + self._height * np.sin(phase), 0.0)


@dataclass
class Clamp(Waveform):
    """Voltage clamp: holds a state and frees it again; without windows the state is never held.

    Parameters
    ----------
    voltage, free : (units,)
        The state, and the factor of its derivative (0 holds it, 1 frees it).
    windows : list of lists of (from, to, voltage), one list a unit
    dt : float
    """

    voltage: Array
    free: Array
    windows: Sequence[Sequence[Window]]
    dt: float

    def __call__(self, step: int) -> None:
        now = (step + 0.5) * self.dt
        for unit, own in enumerate(self.windows):
            held = [value for start, stop, value in own if start <= now < stop]
            self.free[unit] = 0.0 if held else 1.0
            if held:
                self.voltage[unit] = held[-1]

    def until(self, step: int) -> float:
        edges = [np.ceil(edge / self.dt - 0.5) for own in self.windows for window in own
                 for edge in window[:2] if np.isfinite(edge)]
        return min((edge for edge in edges if edge > step), default=np.inf)


@dataclass
class Delayed:
    """Writes what an array was some steps ago into another one.

    Parameters
    ----------
    source, target : (units,)
    steps : int
    """

    source: Array
    target: Array
    steps: int

    def __post_init__(self) -> None:
        self._ring = np.empty((self.steps + 1, len(self.source)))
        self._next = 0

    def fill(self) -> None:
        """Take the past to have been like now."""
        self._ring[:] = self.target[:] = self.source

    def __call__(self) -> None:
        self._ring[self._next] = self.source
        self._next = (self._next + 1) % len(self._ring)
        self.target[:] = self._ring[self._next]
