"""Open a model or protocol file by name or path, and validate all of it.

A file is data: nothing in it is executed or unpickled.  Its equation text, however, becomes code
that Brian2 and Numba compile on this machine, which is why `text` lets nothing through but
arithmetic on names.
"""

from __future__ import annotations

import copy
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dfc_neuro.errors import InputError, ModelError, ProtocolError, near
from dfc_neuro.files import checks, library, schema
from dfc_neuro.files.protocols import LearningProtocol, RecordingProtocol

KINDS: dict[str, type[schema.Description]] = {
    "cell": schema.Cell, "synapse": schema.Synapse, "controller": schema.Controller,
    "rule": schema.Rule, "circuit": schema.Circuit,
    "recording": RecordingProtocol, "learning": LearningProtocol,
}
PROTOCOLS = ("recording", "learning")
_LARGEST = 1_000_000  # bytes
# models that were found valid, by all that they were made from: circuits use the same ones often
_VALID: dict[tuple[str, str, str], schema.Description] = {}
_MOST_REMEMBERED = 256
_MOST_KEYS = 400  # of one table
_MOST_DOTS = 60  # of one key: a parser's memory grows with the square of its parts
_NO_KEY = re.compile(r"""[^\w"'. \t-]""")


def read(path: Path, label: str = "") -> dict[str, Any]:
    """Return the table that a TOML file holds.

    Raises
    ------
    InputError
        If it cannot be read, is not TOML, or has no known `kind`.
    """
    label = label or library.label(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(label, f"the file is larger than {_LARGEST} bytes",
                             "a model or protocol is a short TOML file")
        content = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ModelError(label, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ModelError(label, f"is not text: byte {error.start} is not UTF-8",
                         "a model or protocol is a TOML file") from None
    if any(part.count(".") > _MOST_DOTS for part in _NO_KEY.split(content)):
        raise ModelError(label, f"a key or a line has more than {_MOST_DOTS} dots",
                         "keys have a few parts, 'stimuli.step.amplitude'")
    try:
        table = copy.deepcopy(_parsed(content))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ModelError(label, f"is not valid TOML: {error}") from None
    _few(table, label)
    check_kind(table, label)
    return table


def _few(table: dict[str, Any], label: str) -> None:
    """Refuse a table with more keys than anybody writes, before any work is done for each."""
    if len(table) > _MOST_KEYS:
        raise ModelError(label, f"a table has {len(table)} keys, at most {_MOST_KEYS} are allowed")
    for key, value in table.items():
        if isinstance(value, dict):
            _few(value, f"{label}: {key[:60]}" if ": " not in label else f"{label}.{key[:60]}")


@lru_cache(maxsize=_MOST_REMEMBERED)
def _parsed(content: str) -> dict[str, Any]:
    return tomllib.loads(content)


def check_kind(table: dict[str, Any], label: str) -> str:
    """Return the kind of a table.

    Raises
    ------
    ModelError
        If it has none that is known.
    """
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        found = f"found {kind!r}" if "kind" in table else "is missing"
        raise ModelError(f"{label}: kind", found,
                         near(kind, KINDS) if isinstance(kind, str) else
                         "known: " + ", ".join(KINDS))
    return kind


def _problem(error: dict[str, Any]) -> tuple[str, str]:
    key = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if error["type"] == "missing":
        message = "is missing"
    elif error["type"] != "value_error":
        shown = repr(error["input"])
        message = f"found {shown[:60]}, {message[0].lower()}{message[1:]}"
    return key, message if len(message) < 400 else message[:400] + "..."


def validate(table: dict[str, Any], path: Path, label: str) -> schema.Description:
    """Validate the table of one file by itself; circuits and protocols are not linked yet.

    Raises
    ------
    ModelError, ProtocolError
        One message with file, key, what was found and what is allowed.
    """
    kind = check_kind(table, label)
    remembered = str(path), label, repr(table)
    if remembered in _VALID:
        return _VALID[remembered]
    problem = ProtocolError if kind in PROTOCOLS else ModelError
    try:
        model = KINDS[kind].model_validate(table)
    except ValidationError as error:
        found = [_problem(dict(e)) for e in error.errors(include_url=False)]
        (key, message), rest = found[0], found[1:3]
        also = "".join(f"; also {k}: {m}" for k, m in rest)
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise problem(f"{label}: {key}" if key else label, message + also + more) from None
    model._name, model._path, model._label = path.stem, path, label
    model._source = copy.deepcopy(table)
    checks.check(model)
    if kind not in ("circuit", *PROTOCOLS):
        while len(_VALID) >= _MOST_REMEMBERED:
            _VALID.pop(next(iter(_VALID)))
        _VALID[remembered] = model
    return model


def build(table: dict[str, Any], path: Path, label: str) -> schema.Description:
    """Validate a table and, for a circuit or protocol, everything that it names."""
    kind = check_kind(table, label)
    if kind in PROTOCOLS:
        from dfc_neuro.files.resolve import build_protocol

        return build_protocol(table, path, label)
    if kind == "circuit":
        from dfc_neuro.files.circuits import build_circuit

        return build_circuit(table, path, label)
    return validate(table, path, label)


def load(name: str | Path, kind: str | None = None, *, where: str = "",
         beside: Path | None = None) -> Any:
    """Load a model or protocol by name or path.

    Parameters
    ----------
    name : str or Path
        ``"pyramidal_rate"``, or the path of a file of one's own.
    kind : str, optional
        ``cell``, ``synapse``, ``controller``, ``rule``, ``circuit``, ``recording``, ``learning``
        or ``protocol``: what the file must be.
    where : str, optional
        File and key that hold the name, for messages.
    beside : Path, optional
        Folder of the file that holds the name.

    Returns
    -------
    Cell, Synapse, Controller, Rule, Circuit, RecordingProtocol or LearningProtocol
        A frozen model whose attributes are the keys of the file.  Protocols come resolved.

    Raises
    ------
    InputError
        One message that names file, key, what was found and what is allowed.
    """
    kinds = tuple(library.FOLDERS)
    if kind is not None:
        kinds = ("protocol",) if kind in (*PROTOCOLS, "protocol") else (kind,)
        if kinds[0] not in library.FOLDERS:
            raise InputError("kind", f"unknown kind '{kind}'", near(kind, [*KINDS, "protocol"]))
    path = library.find(name, kinds, where, beside)
    label = library.label(path)
    table = read(path, label)
    allowed = PROTOCOLS if kind == "protocol" else (kind,)
    if kind is not None and table["kind"] not in allowed:
        raise ModelError(where or f"{label}: kind", f"'{name}' is a {table['kind']}",
                         f"a {kind} is needed here")
    return build(table, path, label)
