"""Dotted keys: ``--set a.b=VALUE`` and the tables that set keys elsewhere."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.files import units
from dfc_neuro.files.units import unit_text


def parse_assignment(assignment: str) -> tuple[str, Any]:
    """Split ``KEY=VALUE``; the value is TOML, a bare word is a text.

    Raises
    ------
    ProtocolError
        If there is no ``=`` or the value is broken TOML.
    """
    key, equals, value = assignment.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key or not value:
        raise ProtocolError("--set", f"found '{assignment}'", "write --set KEY=VALUE")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if value[0] in "[{\"'":
            raise ProtocolError(f"--set {key}", f"'{value}' is not valid TOML: {error}") from None
        return key, value


def plain(value: Any, where: str) -> Any:
    """Return a value that a notebook gives (NumPy scalars, Brian2 quantities) as TOML has it.

    Raises
    ------
    ProtocolError
        If TOML has nothing like it.
    """
    if isinstance(value, str | bool | int | float) and type(value).__module__ == "builtins":
        return value
    if hasattr(value, "dim") and getattr(value, "ndim", 1) == 0:
        return f"{float(value)!r} {unit_text(tuple(value.dim._dims))}"
    if isinstance(value, Mapping):
        return {str(k): plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, where) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), where)
    raise ProtocolError(where, f"found {value!r}", "numbers, texts, quantities, lists and tables "
                                                   "can be set")


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the tables of `more` put in, table by table; lists are replaced."""
    result = dict(base)
    for key, value in more.items():
        old = result.get(key)
        result[key] = (merged(old, value) if isinstance(old, dict) and isinstance(value, dict)
                       else value)
    return result


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one table of dotted keys; what a dotted key holds stays whole."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and "." not in key:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def put(table: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set a dotted key; every table on the way must be there, except at the top.

    A word that names no entry stands for all entries that are it with a number, so that
    ``populations.hidden.cell`` sets hidden1 and hidden2.

    Raises
    ------
    ProtocolError
        With the near match of the first word that is unknown.
    """
    head, _, rest = key.partition(".")
    if rest and head not in table:
        table[head] = {}
    _put(table, key.split("."), value, where, "")


def _put(table: dict[str, Any], words: list[str], value: Any, where: str, above: str) -> None:
    word, rest = words[0], words[1:]
    if not rest:
        table[word] = value
        return
    matching = [word] if word in table else numbered(word, table)
    if not matching:
        raise ProtocolError(where, f"there is no '{above}{word}'", near(word, table))
    for name in matching:
        if not isinstance(table[name], dict):
            raise ProtocolError(where, f"'{above}{name}' is {table[name]!r} and has no keys")
        table[name] = dict(table[name])
        _put(table[name], rest, value, where, f"{above}{name}.")


def numbered(word: str, names: Iterable[str]) -> list[str]:
    """Return the names that are `word` with a number."""
    return [name for name in names if re.fullmatch(re.escape(word) + r"\d+", name)]


def look_up(table: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key, or None; a key may itself be written with dots."""
    if key in table:
        return table[key]
    head, _, rest = key.partition(".")
    below = table.get(head)
    return look_up(below, rest) if rest and isinstance(below, Mapping) else None


def same(a: object, b: object) -> bool:
    """Return whether two values are the same text, number or quantity (``100 ms``, ``0.1 s``)."""
    if a == b:
        return isinstance(a, bool) == isinstance(b, bool)
    try:
        x, y = units.parse(a), units.parse(b)
    except ValueError:
        return False
    return x.dimensions == y.dimensions and abs(x.value - y.value) <= 1e-12 * abs(y.value)


_PLACE = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")


def filled(value: Any, variables: Mapping[str, Any], known: Iterable[str], where: str) -> Any:
    """Put variables in the place of ``{name}``; those without a value yet stay.

    Raises
    ------
    ProtocolError
        If the name is neither a variable nor `known`.
    """
    if isinstance(value, dict):
        return {k: filled(v, variables, known, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, variables, known, where) for v in value]
    if not isinstance(value, str):
        return value
    for match in _PLACE.finditer(value):
        if match[1] not in variables and match[1] not in known:
            raise ProtocolError(where, f"unknown variable '{match[0]}'",
                                near(match[1], [*variables, *known]))
    whole = _PLACE.fullmatch(value)
    if whole and whole[1] in variables:
        return variables[whole[1]]
    return _PLACE.sub(lambda m: str(variables.get(m[1], m[0])), value)
