"""A protocol's table [measure]: checked before a run, evaluated on what was recorded."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dfc_neuro.analysis import CHANGES, MEASURES
from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.files import published, resolve
from dfc_neuro.results import LabelledArray, Result

Array = np.ndarray
OPTION_NAMES = {"as": "kind", "from": "start", "to": "stop"}  # keys that Python cannot have
UNITS = {  # of measures that have not the unit of what they are of
    "spike_times": "second",
    "spike_count": "1",
    "first_spike": "second",
    "firing_rate": "hertz",
    "event_rate": "hertz",
    "burst_probability": "1",
    "peak_time": "second",
    "time_above": "second",
    "correlation": "1",
}
OWN_KEYS = ("of", "measure", "with", "data")  # of [measure.NAME]; the others are options


def evaluate(
    name: str,
    time: Array,
    values: Array | None,
    options: Mapping[str, Any],
    where: str,
    other: Array | None = None,
    unit: Array | None = None,
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
    other : ndarray, shape (T, ...), optional
        A second variable, for measures of two.
    unit : ndarray, shape (T,), optional
        Which neuron each spike belongs to, for the measures that ask.

    Raises
    ------
    ProtocolError
        For an unknown measure or option, and for one that this recording does not have.
    """
    function, given = _bound(name, options, values is not None, where, other is not None)
    if other is not None:
        given["other"] = other
    if "unit" in inspect.signature(function).parameters:
        given["unit"] = np.zeros(len(time), int) if unit is None else unit
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
        _bound(table.get("measure", key), _options(table), not spikes, where, "with" in table)
        if not spikes and record is not None:
            _variable(table["of"], list(record.what), where)
            if "with" in table:
                _variable(_partner(table), list(record.what), where)
        if "data" in table:
            published.read(table["data"], f"{where}.data", protocol.path.parent)


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
            rows = _of_spikes(name, result.spikes[of], conditions, _tables(protocol, table, key),
                              where)
            unit = ""
        else:
            group = result[of.partition(".")[0]]
            array = group[_variable(of, list(group), where)]
            other = None
            if "with" in table:
                other = group[_variable(_partner(table), list(group), where)]
            conditions, rows, extra = _of_traces(
                name, array, other, _tables(protocol, table, key), where)
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
        if "data" in table:
            found |= _published(protocol, key, table["data"], conditions, found[f"measures/{key}"])
    return found


def _conditions(protocol: Any) -> list[tuple[str, Any]]:
    """Return the conditions of a recording; none of an object that is no protocol."""
    return resolve.conditions(protocol) if hasattr(protocol, "over") else []


def _partner(table: Mapping[str, Any]) -> str:
    return f"{table['of'].partition('.')[0]}.{table['with']}"


def _tables(protocol: Any, table: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """Return the options of a measure in each condition, which may set some of them."""
    return defaultdict(lambda: _options(table), {
        label: _options(p.measure[key]) for label, p in _conditions(protocol)})


def _published(protocol: Any, key: str, name: str, labels: Array, measured: LabelledArray
               ) -> dict[str, LabelledArray]:
    """Return what is published for each condition, NaN where nothing is: mean, sd and n."""
    data = published.read(name, f"{protocol.label}: measure.{key}.data", protocol.path.parent)
    keys = {label: {**p.variables, "condition": label.partition(", ")[0]}
            for label, p in _conditions(protocol)}
    numbers = np.array([data.find(keys[str(label)]) for label in labels])
    units = (measured.units, measured.units, "1")
    return {f"published/{key}/{what}": LabelledArray(
        column, ("condition",), {"condition": labels}, unit, f"published/{key}/{what}")
        for what, column, unit in zip(published.NUMBERS, numbers.T, units, strict=True)}


def _of_spikes(
    name: str, spikes: Any, conditions: Array, options: Mapping[str, Mapping[str, Any]],
    where: str
) -> list[Any]:
    """Return a measure of the spikes of all units in each condition."""
    at = spikes["condition"].values
    times, units = np.asarray(spikes["time"].values, float), spikes["unit"].values
    return [evaluate(name, times[at == c], None, options[str(c)], where, unit=units[at == c])
            for c in conditions]


def _of_traces(
    name: str,
    array: LabelledArray,
    other: LabelledArray | None,
    options: Mapping[str, Mapping[str, Any]],
    where: str,
) -> tuple[Array, list[Any], dict[str, Array]]:
    """Return the conditions, a measure of each trace, and the last axis if it has several."""
    axis = next((d for d in array.dims if d not in ("time", "condition")), None)
    conditions = array.coords.get("condition", np.array(["default"]))
    time, values = array.coords["time"], _columns(array, axis)
    second = None if other is None else _columns(other, axis)
    rows = []
    for c, label in enumerate(conditions):
        for k in range(values.shape[2]):
            column = values[:, c, k]
            there = ~np.isnan(column)  # conditions may end before others
            partner = None if second is None else second[there, c, k]
            rows.append(evaluate(name, time[there], column[there], options[str(label)],
                                 where, partner))
    several = axis is not None and array.shape[array.dims.index(axis)] > 1
    if not several:
        return conditions, rows, {}
    assert axis is not None
    last = array.coords.get(axis, np.arange(array.shape[array.dims.index(axis)]))
    return conditions, rows, {axis: last}


def _columns(array: LabelledArray, axis: str | None) -> Array:
    """Return values (time, condition, unit)."""
    order = [array.dims.index(d) for d in ("time", "condition", axis) if d in array.dims]
    values = np.transpose(array.values, order)
    return values.reshape(values.shape[0], len(array.coords.get("condition", [0])), -1)


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
    name: str, options: Mapping[str, Any], traces: bool, where: str, two: bool = False
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function of a measure and its options as arguments."""
    if name not in MEASURES:
        raise ProtocolError(where, f"unknown measure '{name}'", near(name, MEASURES))
    parameters = dict(inspect.signature(MEASURES[name]).parameters)
    parameters.pop("time")
    parameters.pop("unit", None)
    values = parameters.pop("values", None)
    if (parameters.pop("other", None) is not None) != two:
        raise ProtocolError(where, f"'{name}' is of {'one variable' if two else 'two variables'}",
                            "leave 'with' out" if two else 'write with = "VARIABLE"')
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
