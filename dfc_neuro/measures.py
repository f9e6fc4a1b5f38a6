"""A protocol's table [measure]: checked before a run, evaluated on what was recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dfc_neuro.analysis import CHANGES, MEASURES
from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.files import resolve
from dfc_neuro.results import LabelledArray, Result

Array = np.ndarray
OPTION_NAMES = {"as": "kind", "from": "start", "to": "stop"}  # keys that Python cannot have
UNITS = {  # of measures that have not the unit of what they are of
    "spike_times": "second",
    "spike_count": "1",
    "first_spike": "second",
    "firing_rate": "hertz",
    "peak_time": "second",
    "time_above": "second",
}
OWN_KEYS = ("of", "measure")  # of a table [measure.NAME]; the others are options


def evaluate(
    name: str, time: Array, values: Array | None, options: Mapping[str, Any], where: str
) -> Any:
    """Return one measure of one trace, or of spikes.

    Parameters
    ----------
    name : str
        One of MEASURES.
    time : ndarray, shape (T,)
        Seconds; the times of the spikes when `values` is None.
    values : ndarray, shape (T, ...), or None
        A recorded variable in SI units.
    options : dict
        As the file has them: numbers, quantities as text, ``from``, ``to`` and ``as``.
    where : str
        File and key, for messages.

    Raises
    ------
    ProtocolError
        For an unknown measure or option, and for one that this recording does not have.
    """
    function, given = _bound(name, options, values is not None, where)
    return function(time, **given) if values is None else function(time, values, **given)


def check_measures(protocol: Any) -> None:
    """Raise ProtocolError for a measure that cannot be had, before anything runs.

    Parameters
    ----------
    protocol : RecordingProtocol
        Resolved.
    """
    for key, table in protocol.measure.items():
        where = f"{protocol.label}: measure.{key}"
        if "of" not in table:
            raise ProtocolError(where, "'of' is missing", 'write of = "RECORDING.VARIABLE"')
        record = protocol.record.get(table["of"].partition(".")[0])
        spikes = record is not None and "spikes" in record.what
        _bound(table.get("measure", key), _options(table), not spikes, where)
        if not spikes and record is not None:
            _variable(table["of"], list(record.what), where)


def measures(protocol: Any, result: Result) -> dict[str, LabelledArray]:
    """Return what a protocol's table [measure] asks for, by name in the result file.

    Parameters
    ----------
    protocol : RecordingProtocol
        Resolved; ``[measure.NAME]`` has ``of = "RECORDING.VARIABLE"`` (or a recording of spikes,
        or a synapse under test), optionally ``measure = "FUNCTION"`` when it is not NAME, and the
        function's options.
    result : Result
        What was recorded.

    Returns
    -------
    dict
        {``measures/NAME``: one number, or several along the dim "spike", for each condition and
        unit}; a single unit has no dim.
    """
    found = {}
    for key, table in protocol.measure.items():
        where = f"{protocol.label}: measure.{key}"
        extra: dict[str, Array] = {}
        name, of = table.get("measure", key), table["of"]
        if of in result.spikes:
            conditions = np.array([label for label, _ in resolve.conditions(protocol)])
            rows = _of_spikes(name, result.spikes[of], conditions, _options(table), where)
            unit = ""
        else:
            group = result[of.partition(".")[0]]
            array = group[_variable(of, list(group), where)]
            conditions, rows, extra = _of_traces(name, array, _options(table), where)
            unit = array.units
        if "percent" in table.values():
            unit = "%"
        elif table.get("as") in ("relative", "ratio"):
            unit = "1"
        values, dims = _padded(rows)
        coords = {"condition": conditions} | extra
        names = ("condition", *extra, *dims)
        found[f"measures/{key}"] = LabelledArray(
            values.reshape([len(c) for c in coords.values()] + list(values.shape[1:])),
            names,
            coords,
            UNITS.get(name, unit),
            f"measures/{key}",
        )
    return found


def _of_spikes(
    name: str, spikes: Any, conditions: Array, options: Mapping[str, Any], where: str
) -> list[Any]:
    """Return a measure of the spikes of all units in each condition."""
    at = spikes["condition"].values
    times = np.asarray(spikes["time"].values, float)
    return [evaluate(name, times[at == c], None, options, where) for c in conditions]


def _of_traces(
    name: str, array: LabelledArray, options: Mapping[str, Any], where: str
) -> tuple[Array, list[Any], dict[str, Array]]:
    """Return the conditions, a measure of each trace, and the last axis if it has several."""
    axis = next((d for d in array.dims if d not in ("time", "condition")), None)
    order = [array.dims.index(d) for d in ("time", "condition", axis) if d in array.dims]
    values = np.transpose(array.values, order)
    values = values.reshape(values.shape[0], -1)
    time = array.coords["time"]
    rows = []
    for column in values.T:
        there = ~np.isnan(column)  # conditions may end before others
        rows.append(evaluate(name, time[there], column[there], options, where))
    conditions = array.coords.get("condition", np.array(["default"]))
    several = axis is not None and array.shape[array.dims.index(axis)] > 1
    if not several:
        return conditions, rows, {}
    assert axis is not None
    last = array.coords.get(axis, np.arange(array.shape[array.dims.index(axis)]))
    return conditions, rows, {axis: last}


def _padded(rows: list[Any]) -> tuple[Array, tuple[str, ...]]:
    """Return numbers as they are, and lists of different lengths filled up with NaN."""
    if all(np.ndim(row) == 0 for row in rows):
        return np.array(rows, float), ()
    out = np.full((len(rows), max(map(len, rows))), np.nan)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out, ("spike",)


def _options(table: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in table.items() if k not in OWN_KEYS}


def _variable(of: str, known: list[str], where: str) -> str:
    """Return the variable that ``RECORDING.VARIABLE`` names, or the only one."""
    name = of.partition(".")[2]
    if not name and len(known) == 1:
        return known[0]
    if name not in known:
        raise ProtocolError(f"{where}.of", f"'{of}' names no variable", near(name, known))
    return name


def _bound(
    name: str, options: Mapping[str, Any], traces: bool, where: str
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function of a measure and its options as arguments."""
    if name not in MEASURES:
        raise ProtocolError(where, f"unknown measure '{name}'", near(name, MEASURES))
    parameters = dict(inspect.signature(MEASURES[name]).parameters)
    parameters.pop("time")
    values = parameters.pop("values", None)
    if not traces and values is not None and values.default is not None:
        raise ProtocolError(where, f"'{name}' needs a trace, not spikes", "record a voltage")
    if traces and values is None:
        raise ProtocolError(where, f"'{name}' needs spikes, not a trace", 'record what = "spikes"')
    given = {}
    for key, value in options.items():
        argument = OPTION_NAMES.get(key, key)
        if argument not in parameters:
            shown = {v: k for k, v in OPTION_NAMES.items()}
            allowed = [shown.get(k, k) for k in parameters]
            raise ProtocolError(
                f"{where}, {key}", f"'{name}' has no such option", near(key, allowed)
            )
        if argument != "kind":
            given[argument] = _number(value, f"{where}, {key}")
        elif value in CHANGES:
            given[argument] = value
        else:
            raise ProtocolError(
                f"{where}, {key}", f"unknown kind of change '{value}'", near(str(value), CHANGES)
            )
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            raise ProtocolError(where, f"'{name}' needs '{key}'", f'add {key} = "..."')
    return MEASURES[name], given


def _number(value: Any, where: str) -> float:
    """Return a number, or a quantity in SI units."""
    from dfc_neuro.files.units import quantity

    return quantity(value, where).value
