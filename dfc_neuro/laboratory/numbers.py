"""The numbers of the comparison: errors against data with their intervals, learning over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from dfc_neuro.results import Result

Array = np.ndarray
RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval, of n values."""

    value: float
    low: float
    high: float
    n: int

    def shown(self, digits: int = 1, unit: str = "") -> str:
        """Return ``12.3 [10.1, 14.5] unit``."""
        text = f"{self.value:.{digits}f}"
        if np.isfinite(self.low) and self.n > 1:
            text += f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{text}{unit}"


def error_against_data(result: Result, measure: str) -> Interval | None:
    """Return the root mean square difference between a measure and what is published.

    The interval is the central 95 % over 2000 resamplings of the conditions, with replacement.

    Parameters
    ----------
    result : Result
    measure : str
        A measure with published means beside it.

    Returns
    -------
    Interval or None
        None where nothing is published for any condition; in the unit of the measure.
    """
    if measure not in result.published:
        return None
    mean = result.published[measure]["mean"].values
    values = np.reshape(result.measures[measure].values, (len(mean), -1))[:, 0]
    squares = (values - mean)[~np.isnan(mean)] ** 2
    if not len(squares):
        return None
    picks = np.random.default_rng(0).integers(len(squares), size=(RESAMPLES, len(squares)))
    spread = np.sqrt(squares[picks].mean(axis=1))
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(np.sqrt(squares.mean())), float(low), float(high), len(squares))


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the mean over seeds with Student's 95 % interval; infinite for a single one."""
    found = np.asarray(values, float)
    n, mean = len(found), float(found.mean())
    if n < 2:
        return Interval(mean, np.nan, np.nan, n)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * found.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def learning(results: Sequence[Result]) -> dict[str, Interval]:
    """Return test error (%) after and before training and angles (degrees), over seeds.

    ``gained`` is the error before less the error after, seed by seed.
    """
    errors = [np.asarray(r.metrics["test_error"].values, float).ravel() for r in results]
    found = {"test error": over_seeds([100 * e[-1] for e in errors]),
             "before": over_seeds([100 * e[0] for e in errors]),
             "gained": over_seeds([100 * (e[0] - e[-1]) for e in errors])}
    for name in ("angle_bp", "angle_gn", "angle_mn", "angle_ssa"):
        values = [_last_mean(r, name) for r in results]
        if all(np.isfinite(values)):
            found[name] = over_seeds(values)
    return found


def _last_mean(result: Result, name: str) -> float:
    """Return the mean over epochs of training of a diagnostic, NaN if it was not recorded."""
    if name not in result.metrics:
        return float("nan")
    values = np.asarray(result.metrics[name].values, float)
    values = values.reshape(len(values), -1).mean(axis=1)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")
