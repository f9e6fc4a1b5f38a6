"""Fit parameters of a rule to published measurements by least squares."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from dfc_neuro.errors import InputError, ProtocolError, ResultsError, near
from dfc_neuro.files import published, resolve, units
from dfc_neuro.files.load import load
from dfc_neuro.laboratory.battery import EXPERIMENTS, RULE_KEY
from dfc_neuro.statistics import standard_error

log = logging.getLogger(__name__)
Array = np.ndarray
FACTOR = 10.0  # bounds, where none are given: a tenth and ten times the value
MOST = 40  # evaluations


@dataclass(frozen=True)
class Fit:
    """A fitted rule file; parameters with their standard errors; the error before and after.

    ``values`` and ``errors`` are numbers in the unit of each parameter as the rule writes it;
    ``rms`` is the root mean square difference from the data, (before, after), and ``n`` their
    number.  An infinite error means that the data do not determine the parameter.
    """

    path: Path
    values: dict[str, float]
    errors: dict[str, float]
    units: dict[str, str]
    rms: tuple[float, float]
    n: int


def fit(
    rule: str | Path,
    *,
    to: str,
    free: Sequence[str],
    bounds: Mapping[str, tuple[float, float]] | None = None,
    cell: str | None = None,
    keys: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    quick: bool = False,
    force: bool = False,
) -> Fit:
    """Fit parameters of a rule to the measurements of an experiment.

    Minimises the sum of squared differences between the measure and the published means, over
    their standard errors (deviations where n is not known) where all are known, with
    scipy.optimize.least_squares within bounds.
    The standard errors are the roots of the diagonal of s^2 (J^T J)^-1, s^2 the residual variance.

    Parameters
    ----------
    rule : str or Path
        The rule; its own values are where the search begins.
    to : str
        The experiment (a protocol with published data), or the name of the data.
    free : sequence of str
        Parameters to fit.
    bounds : dict, optional
        {parameter: (low, high)} in the unit the rule writes; a tenth and ten times the value if
        not given, or its negative reach.
    cell : str, optional
        The cell, instead of the protocol's own.
    keys : dict, optional
        Keys of the protocol to set.
    out : path, optional
        The new rule file; ``RULE_fitted.toml`` if not given.
    quick : bool
        The small size of the protocol.
    force : bool
        Replace an existing file.

    Returns
    -------
    Fit

    Raises
    ------
    InputError
        If the rule, a parameter, or the data cannot be used.
    """
    from scipy.optimize import least_squares

    found = load(rule, "rule")
    path = Path(out) if out is not None else Path(f"{found.name}_fitted.toml")
    if path.exists() and not force:
        raise ResultsError(str(path), "exists", "give another name with -o, or --force")
    start = {name: _parameter(found, name) for name in dict.fromkeys(free)}
    if not start:
        raise InputError("fit: --free", "no parameter is named", near("", found.parameters))
    protocol, measure = _experiment(to)
    x0, spans = _scaled(start, bounds or {})
    own = {**(keys or {}), **({"on": cell} if cell else {})}
    runs = _Runs(found, protocol, measure, own, quick, start, to)
    first = runs(x0)
    if len(first) <= len(x0):
        raise InputError("fit: --free", f"{len(x0)} parameters and {len(first)} measurements",
                         "free fewer parameters")
    answer = least_squares(runs, x0, bounds=spans, x_scale=np.maximum(np.abs(x0), 1e-12),
                           diff_step=1e-2, max_nfev=MOST)
    values = dict(zip(start, map(float, answer.x), strict=True))
    errors = dict(zip(start, _errors(answer.jac, answer.fun), strict=True))
    texts = {name: unit for name, (_, unit) in start.items()}
    rms = tuple(float(np.sqrt(np.mean((r * runs.spread) ** 2))) for r in (first, answer.fun))
    table = {**found.source, "parameters": {**found.parameters, **_written(values, texts)}}
    table["departures"] = [*found.departures, f"{', '.join(start)} fitted to {runs.data.name}: "
                           f"{runs.data.source}"]
    path.write_text(tomli_w.dumps(_plain(table)), encoding="utf-8")
    load(path, "rule")
    return Fit(path, values, errors, texts, (rms[0], rms[1]), len(first))


class _Runs:
    """The weighted differences from the data, as a function of the parameters."""

    def __init__(self, rule, protocol: str, measure: str, keys: dict[str, Any], quick: bool,
                 start: Mapping[str, tuple[float, str]], to: str):
        self.protocol, self.measure, self.quick = protocol, measure, quick
        self.names = {name: unit for name, (_, unit) in start.items()}
        self.keys: dict[str, Any] = {**keys, RULE_KEY: str(rule.path)}
        resolved = resolve.protocol(protocol, self.keys, quick=quick)
        data = to if to != protocol else resolved.measure[measure]["data"]
        self.data = published.read(data, "fit: --to")
        self.keys[f"measure.{measure}.data"] = str(data)
        self.spread: Array | float = 1.0

    def __call__(self, x: Array) -> Array:
        from dfc_neuro.run import run

        values = _written(dict(zip(self.names, map(float, x), strict=True)), self.names)
        keys = self.keys | {f"plastic.test.parameters.{k}": v for k, v in values.items()}
        with tempfile.TemporaryDirectory() as folder:
            result = run(self.protocol, out=Path(folder) / "fit.h5", keys=keys, quick=self.quick,
                         progress=False)
            mean, sd, n = (result.published[self.measure][k].values for k in ("mean", "sd", "n"))
            spread = standard_error(sd, n)
            found = np.reshape(result.measures[self.measure].values, (len(mean), -1))[:, 0]
        there = ~np.isnan(mean)
        if np.all(spread[there] > 0):
            self.spread = spread[there]
        log.info("%s: rms %.4g", values, np.sqrt(np.mean((found - mean)[there] ** 2)))
        return (found - mean)[there] / self.spread


def _experiment(to: str) -> tuple[str, str]:
    """Return the protocol and the measure that data belong to.

    `to` is the protocol, the name of its data, or a file whose columns are keys of its conditions.
    """
    own = "/" in to or to.endswith(".csv")
    columns = set(published.read(to, "fit: --to").rows[0][0]) if own else set()
    known = []
    for protocol in EXPERIMENTS:
        resolved = resolve.protocol(protocol)
        for name, table in resolved.measure.items():
            known += [str(table[k]) for k in ("data",) if k in table]
            if to in (protocol, table.get("data")) and "data" in table:
                return protocol, name
            if own and name == "weight_change" and columns == set(resolved.over):
                return protocol, name
    if own:
        raise ProtocolError("fit: --to", f"no experiment has conditions by {', '.join(columns)}",
                            "name columns as its table [over] does")
    raise ProtocolError("fit: --to", f"no experiment has the data '{to}'", near(to, known))


def _parameter(rule, name: str) -> tuple[float, str]:
    """Return the value of a parameter as the rule writes it, and its unit."""
    if name not in rule.parameters:
        raise InputError("fit: --free", f"rule '{rule.name}' has no parameter '{name}'",
                         near(name, rule.parameters))
    written = rule.parameters[name]
    if not isinstance(written, str):
        return float(written), ""
    number, _, unit = written.strip().partition(" ")
    try:
        return float(number), unit.strip().removeprefix("*").strip()
    except ValueError:
        quantity = units.parse(written)
        return quantity.value, units.unit_text(quantity.dimensions)


def _scaled(start: Mapping[str, tuple[float, str]], bounds: Mapping[str, tuple[float, float]]
            ) -> tuple[Array, tuple[Array, Array]]:
    for name, (low, high) in bounds.items():
        if name not in start:
            raise InputError("fit: --bounds", f"'{name}' is not free", near(name, start))
        if not low < start[name][0] < high:
            raise InputError(f"fit: --bounds {name}", f"found {low:g} to {high:g}, the search "
                             f"begins at {start[name][0]:g}", "bounds enclose the start")
    own = {}
    for name, (value, _) in start.items():
        ends = sorted((value / FACTOR, value * FACTOR)) if value else (-1.0, 1.0)
        own[name] = bounds.get(name, (ends[0], ends[1]))
    return (np.array([v for v, _ in start.values()]),
            (np.array([own[n][0] for n in start]), np.array([own[n][1] for n in start])))


def _errors(jacobian: Array, residuals: Array) -> Array:
    """Return standard errors; infinite where the data do not determine a parameter."""
    n, k = jacobian.shape
    size = np.linalg.norm(jacobian, axis=0)
    scale = np.where(size > 0, size, 1.0)
    rank = np.linalg.matrix_rank(jacobian / scale, tol=1e-8)
    if rank < k:
        return np.full(k, np.inf)
    covariance = np.linalg.inv((jacobian / scale).T @ (jacobian / scale)) / np.outer(scale, scale)
    return np.sqrt(np.diag(covariance) * np.sum(residuals ** 2) / (n - k))


def _written(values: Mapping[str, float], texts: Mapping[str, str]) -> dict[str, float | str]:
    return {name: f"{value!r} {texts[name]}" if texts[name] else value
            for name, value in values.items()}


def _plain(value):
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
