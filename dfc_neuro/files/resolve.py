"""Protocols with everything that changes them put in, down to the model they run on.

Later wins: the file that is extended, the file, ``[quick]``, ``[[when]]``, and the keys that the
user sets.  Keys that are not the protocol's own change the model; a variable is a name that only
``match`` or a placeholder mentions.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfc_neuro import registry
from dfc_neuro.errors import InputError, ProtocolError, near
from dfc_neuro.files import keys as dotted
from dfc_neuro.files import library, schema, targets, units
from dfc_neuro.files.circuits import build_circuit, expand
from dfc_neuro.files.load import KINDS, PROTOCOLS, load, read, validate
from dfc_neuro.files.protocols import (
    CELL_ROOTS,
    MODEL_ROOTS,
    LearningProtocol,
    Protocol,
    RecordingProtocol,
)

_NOT_SET = ("kind", "extends", "when", "quick", "conditions", "references", "departures", "set",
            "variables")
_MOST_CONDITIONS = 1000


def protocol(name: str | Path, keys: Mapping[str, Any] | None = None,
             quick: bool = False) -> Any:
    """Return a protocol with everything that changes it put in.

    Parameters
    ----------
    name : str or Path
        Name or path.
    keys : mapping, optional
        Dotted keys and their values, as ``--set`` gives them.
    quick : bool
        Apply the ``[quick]`` table.

    Returns
    -------
    RecordingProtocol or LearningProtocol
        Its `circuit` or `cell` is the model with every change made to it.

    Raises
    ------
    InputError
        Naming the file or key, what was found and what is allowed.
    """
    path = library.find(name, ("protocol",))
    label = library.label(path)
    table = read(path, label)
    if table["kind"] not in PROTOCOLS:
        raise ProtocolError(f"{label}: kind", f"is '{table['kind']}'",
                            "a protocol (recording or learning) is needed here")
    return _resolved(inherited(table, path, label), path, label, dict(keys or {}), quick)


def build_protocol(table: dict[str, Any], path: Path, label: str) -> Protocol:
    """Validate the table of a protocol, and all that it names."""
    return _resolved(inherited(table, path, label), path, label, {}, False)


def inherited(table: dict[str, Any], path: Path, label: str,
              seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a protocol's table on top of the one it extends."""
    name = table.get("extends")
    if name is None:
        return copy.deepcopy(table)
    where = f"{label}: extends"
    if not isinstance(name, str):
        raise ProtocolError(where, f"found {name!r}", "give the name of a protocol")
    base_path = library.find(name, ("protocol",), where, path.parent)
    if base_path.resolve() in (*seen, path.resolve()):
        raise ProtocolError(where, f"'{name}' extends this file in turn")
    base = inherited(read(base_path), base_path, library.label(base_path),
                     (*seen, path.resolve()))
    if base["kind"] != table["kind"]:
        raise ProtocolError(where, f"'{name}' is of kind '{base['kind']}', this file is "
                                   f"'{table['kind']}'")
    whens = [part["when"] for part in (base, table) if "when" in part]
    result = dotted.merged(base, copy.deepcopy(table))
    result.pop("extends", None)
    if all(isinstance(part, list) for part in whens) and whens:
        result["when"] = [when for part in whens for when in part]
    return result


def _own_keys(kind: str) -> set[str]:
    fields = KINDS[kind].model_fields
    return {field.alias or name for name, field in fields.items()} - set(_NOT_SET)


def _defaults(kind: str) -> dict[str, Any]:
    return {field.alias or name: field.default for name, field in KINDS[kind].model_fields.items()
            if isinstance(field.default, str | bool | int | float)}


def _variables(table: Mapping[str, Any]) -> set[str]:
    """Names that conditions range over, that `match` mentions, or that have a value."""
    found = {*_table(table, "over"), *_table(table, "variables")}
    own = _own_keys(table["kind"])
    for when in table.get("when", []):
        found |= {key for key in when["match"] if "." not in key and key not in own}
    return found


def _check_whens(table: Mapping[str, Any], label: str) -> None:
    whens = table.get("when", [])
    for number, when in enumerate(whens if isinstance(whens, list) else [None], 1):
        if not (isinstance(when, dict) and set(when) == {"match", "set"}
                and all(isinstance(part, dict) for part in when.values())):
            raise ProtocolError(f"{label}: when {number}", "is not of the form of this table",
                                "write [[when]] with match = { ... } and set = { ... }")


def _table(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key, {})
    return value if isinstance(value, dict) else {}


def _set(table: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set one key of a protocol, of the model it runs on, or a variable."""
    root, _, rest = key.partition(".")
    own, variables = _own_keys(table["kind"]), _variables(table)
    if root == "set" and rest:
        table["set"] = {**dotted.flat(_table(table, "set")), rest: value}
    elif key in variables:
        table["variables"] = {**_table(table, "variables"), key: value}
    elif root == "phases" and rest and "phases" in own:
        name, _, inner = rest.partition(".")
        phases = dict(_table(table, "phases"))
        if name not in phases or not isinstance(phases[name], dict):
            raise ProtocolError(where, f"there is no phase '{name}'", near(name, phases))
        phases[name] = ({**dotted.flat(phases[name]), inner: value} if inner else value)
        table["phases"] = phases
    elif root in own:
        if key == "layers" and value is None:
            raise ProtocolError(where, "layers needs sizes")
        if root == "plastic" and key.split(".")[2:3] == ["parameters"]:  # of the rule's own
            table["plastic"] = {n: {"parameters": {}, **entry} if isinstance(entry, dict) else entry
                                for n, entry in _table(table, "plastic").items()}
        dotted.put(table, key, value, where)
    elif root in (*MODEL_ROOTS, *CELL_ROOTS, "layers") and (rest or root == "layers"):
        others = {k: v for k, v in dotted.flat(_table(table, "set")).items() if k != key}
        table["set"] = {**others, key: value}  # last, for what is set later wins
    else:
        known = own | variables | set(MODEL_ROOTS) | {"layers"}
        raise ProtocolError(where, f"unknown key '{key}'", near(root, known))


def _check_keys(table: Mapping[str, Any], label: str) -> None:
    """Find unknown keys in ``[quick]`` and ``[[when]]`` also when they are not used."""
    for place, keys in [("quick", _table(table, "quick")),
                        *((f"when {n}", when["set"]) for n, when in
                          enumerate(table.get("when", []), 1))]:
        trial = dict(table)  # what lies deeper is replaced by _set, not changed
        for key, value in dotted.flat(keys).items():
            _set(trial, key, value, f"{label}: {place}.{key}")


def _changed(table: dict[str, Any], label: str, keys: Mapping[str, Any],
             quick: bool) -> dict[str, Any]:
    table = copy.deepcopy(table)
    _check_whens(table, label)
    _check_keys(table, label)
    user = {key: dotted.plain(value, f"--set {key}") for key, value in keys.items()}
    for key, value in user.items():
        _check_choice(table, key, value)
    if quick:
        for key, value in dotted.flat(_table(table, "quick")).items():
            _set(table, key, value, f"{label}: quick.{key}")
    for key, value in user.items():
        _set(table, key, value, f"--set {key}")
    for number, when in enumerate(table.get("when", []), 1):
        where = f"{label}: when {number}"
        values = {**_defaults(table["kind"]), **_table(table, "set"),
                  **_table(table, "variables"), **table}
        if all(dotted.same(dotted.look_up(values, key), wanted)
               for key, wanted in when["match"].items()):
            for key, value in dotted.flat(when["set"]).items():
                if key not in user:
                    _set(table, key, value, f"{where}: {key}")
    for key, value in user.items():  # again: they win over a table that holds them, too
        _set(table, key, value, f"--set {key}")
    return table


def _check_choice(table: dict[str, Any], key: str, value: Any) -> None:
    """Refuse a word for a variable that ``[[when]]`` knows by other words only."""
    name = key.removeprefix("variables.")
    variables = _table(table, "variables")
    matched = [when["match"][name] for when in table.get("when", []) if name in when["match"]]
    words = {str(word) for word in (*matched, variables.get(name)) if _is_word(word)}
    if name in variables and matched and words and _is_word(value) and value not in words:
        raise ProtocolError(f"--set {key}", f"unknown value '{value}'", near(str(value), words))


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _resolved(raw: dict[str, Any], path: Path, label: str, keys: dict[str, Any], quick: bool,
              like: Protocol | None = None) -> Any:
    """Resolve a table; a protocol `like` it on the same model shares its model."""
    table = _changed(raw, label, keys, quick)
    for key in ("quick", "extends"):
        table.pop(key, None)
    over = _table(table, "over")
    open_whens = [w for w in table.pop("when", []) if set(w["match"]) & set(over)]
    if open_whens:
        table["when"] = open_whens
    variables = _table(table, "variables")
    for key in ("stimuli", "plastic", "record", "measure", "data", "duration", "set"):
        if key in table:
            table[key] = dotted.filled(table[key], variables, over, f"{label}: {key}")
    if "set" in table and isinstance(table["set"], dict):
        table["set"] = dotted.flat(table["set"])
    found = validate(table, path, label)
    assert isinstance(found, Protocol)
    if like is not None and (like.on, like.set) == (found.on, found.set):
        found._cell, found._circuit = like.cell, like.circuit
    else:
        _link(found, keys)
    if isinstance(found, RecordingProtocol):
        targets.check_recording(found)
        found._conditions = tuple(_grid(found, raw, keys, quick))
    elif isinstance(found, LearningProtocol):
        _check_learning(found)
    return found


def _link(found: Protocol, user: Mapping[str, Any]) -> None:
    """Load the model that a protocol runs on, with every change made to it."""
    where = f"{found.label}: on"
    path = library.find(found.on, ("circuit", "cell"), where, found.path.parent)
    table = read(path)
    changes = dict(found.set)
    if isinstance(found, LearningProtocol):
        if table["kind"] != "circuit":
            raise ProtocolError(where, f"'{found.on}' is a {table['kind']}",
                                "a learning experiment runs on a circuit")
        if found.layers is not None:
            changes = {"layers": list(found.layers)} | changes
    if table["kind"] == "circuit":
        found._circuit = _circuit(table, path, changes, found, user)
    elif table["kind"] == "cell":
        found._cell = _cell(table, path, changes, found, user)
    else:
        raise ProtocolError(where, f"'{found.on}' is a {table['kind']}",
                            "a protocol runs on a cell or a circuit")


def _circuit(table: dict[str, Any], path: Path, changes: dict[str, Any],
             found: Protocol, user: Mapping[str, Any]) -> schema.Circuit:
    label = library.label(path)
    if "layers" in changes:
        table = table | {"layers": changes.pop("layers")}
    table = expand(table, label)
    for key, value in changes.items():
        root = key.partition(".")[0]
        where = f"--set {key}" if key in user else f"{found.label}: {key}"
        if root not in MODEL_ROOTS:
            raise ProtocolError(where, f"'{found.on}' is a circuit", near(root, MODEL_ROOTS))
        if isinstance(found, LearningProtocol) and root == "cells":
            value = _in_seconds(table, key, value, where, path)
        dotted.put(table, key, value, where)
    return build_circuit(table, path, f"{label} as {found.label} sets it" if changes else label)


def _in_seconds(table: dict[str, Any], key: str, value: Any, where: str, path: Path) -> Any:
    """Return a time constant that is a plain number, in units of tau_u, in seconds."""
    name = key.partition(".")[2]
    if not name.startswith("tau") or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    for use in table.get("controllers", {}).values():
        model = load(use["model"], "controller", where=where, beside=path.parent)
        tau_u = use.get("tau_u", model.parameters.get("tau_u"))
        if tau_u is not None:
            return f"{value * units.quantity(tau_u, where).value!r} second"
    raise ProtocolError(where, f"found {value!r}, a plain number is in units of a controller's "
                               "tau_u, and there is no controller", 'write "20 ms"')


def _cell(table: dict[str, Any], path: Path, changes: dict[str, Any],
          found: Protocol, user: Mapping[str, Any]) -> schema.Cell:
    label = library.label(path)
    for key, value in changes.items():
        root, _, rest = key.partition(".")
        where = f"--set {key}" if key in user else f"{found.label}: {key}"
        if root not in CELL_ROOTS:
            raise ProtocolError(where, f"'{found.on}' is a cell", near(root, CELL_ROOTS))
        known = table.get("parameters" if root == "cells" else root, {})
        if root != "initial" and rest not in known:
            raise ProtocolError(where, f"cell '{found.on}' has no '{rest}'", near(rest, known))
        table[("parameters" if root == "cells" else root)] = {**known, rest: value}
    cell = validate(table, path, label)
    assert isinstance(cell, schema.Cell)
    return cell


def phase(found: LearningProtocol, name: str) -> LearningProtocol:
    """Return a learning protocol as one of its phases runs it.

    The keys of the phase are put into `circuit` and `numerics`; the phase itself is
    ``found.phases[name]``.

    Raises
    ------
    ProtocolError
        If there is no such phase, or one of its keys is wrong.
    """
    if name not in found.phases:
        raise ProtocolError(f"{found.label}: phases", f"there is no phase '{name}'",
                            near(name, found.phases))
    table = copy.deepcopy(found.source)
    where = f"{found.label}: phases.{name}"
    for key, value in found.phases[name].keys.items():
        if key.startswith("numerics."):
            dotted.put(table, key, value, f"{where}.{key}")
        else:
            table["set"] = {**_table(table, "set"), key: value}
    try:
        changed = validate(table, found.path, found.label)
        assert isinstance(changed, LearningProtocol)
        _link(changed, {})
    except InputError as error:
        raise ProtocolError(where, f"{error.where}: {error.found}", error.remedy) from None
    return changed


def _check_learning(found: LearningProtocol) -> None:
    named = [("methods", found.method, "method"),
             ("datasets", str(found.data["name"]), "data.name")]
    named += [("optimisers", options["name"], f"optimisers.{key}.name")
              for key, options in found.optimisers.items()]
    for kind, name, key in named:
        known = registry.names(kind)
        if name not in known:
            raise ProtocolError(f"{found.label}: {key}",
                                f"unknown {kind.removesuffix('s')} '{name}'", near(name, known))
    for name in found.phases:
        phase(found, name)


def conditions(found: RecordingProtocol) -> list[tuple[str, RecordingProtocol]]:
    """Return the conditions of a recording: label, and the protocol as it runs there.

    ``[conditions]`` and ``[over]`` make a grid.  A label is the name of the condition, or
    ``frequency=10 Hz, lag=10 ms``, or both; without either there is one condition, ``default``.
    """
    return list(found._conditions) or [("default", found)]


def _grid(found: RecordingProtocol, raw: dict[str, Any], keys: Mapping[str, Any],
          quick: bool) -> list[tuple[str, RecordingProtocol]]:
    if not found.conditions and not found.over:
        return []
    grids = [[(key, value) for value in values] for key, values in found.over.items()]
    points = [(name, pairs) for name in list(found.conditions) or [""] for pairs in
              itertools.islice(itertools.product(*grids), _MOST_CONDITIONS + 1)]
    if len(points) > _MOST_CONDITIONS:
        raise ProtocolError(f"{found.label}: over", f"makes more than {_MOST_CONDITIONS} "
                            "conditions", "sweep over some of the keys instead")
    made = []
    raw = {k: v for k, v in raw.items() if k not in ("conditions", "over")}
    if "quick" in raw:  # what chooses the conditions is done
        raw["quick"] = {k: v for k, v in dotted.flat(_table(raw, "quick")).items()
                        if k.partition(".")[0] not in ("conditions", "over")}
    for name, pairs in points:
        table = copy.deepcopy(raw)
        variables = {**_table(raw, "variables"), **dict(pairs)}
        if variables:
            table["variables"] = variables
        changes = {k: v for k, v in keys.items() if k.partition(".")[0] != "over"}
        for key, value in (dotted.flat(found.conditions[name]) if name else {}).items():
            _set(table, key, value, f"{found.label}: conditions.{name}.{key}")
            changes.pop(key, None)
        label = ", ".join([name] * bool(name) + [f"{key}={value}" for key, value in pairs])
        made.append((label, _resolved(table, found.path, found.label, changes, quick, found)))
    return made
