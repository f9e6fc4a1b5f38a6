"""The state file of an unfinished run: what a commit consists of, written, found and compared."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dfc_neuro.errors import ResultsError
from dfc_neuro.results._format import STRING, Layout, new_file

MISSING = object()


@dataclass(frozen=True)
class Snapshot:
    """One commit.

    Attributes
    ----------
    header : dict
        Attributes of the file to be.
    number : int
        Of the commit.
    seconds : float
        Spent on the run so far.
    data : tuple of str
        Files with what was extended, in order.
    puts : dict
        For each variable that was put, the file that holds its newest values.
    layouts : dict
        Of all variables, by name.
    state : dict or None
        What the checkpoint was given; None before the first.
    """

    header: dict[str, Any]
    number: int = -1
    seconds: float = 0.0
    data: tuple[str, ...] = ()
    puts: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    state: dict[str, Any] | None = None


def partial_folder(path: Path) -> Path:
    """Return where the data of a result file are until its run ends."""
    return path.with_name(path.name + ".partial")


def write(folder: Path, snapshot: Snapshot) -> None:
    """Write a state file durably; from then on the commit counts."""
    final = folder / f"{snapshot.number:06d}.state.h5"
    with new_file(final.with_name(final.name + ".tmp"), final) as new:
        record = {k: v for k, v in vars(snapshot).items() if k not in ("state", "layouts")}
        record["layouts"] = {k: asdict(v) for k, v in snapshot.layouts.items()}
        new.file.attrs["record"] = json.dumps(record)
        if snapshot.state is not None:
            group = new.file.create_group("state")
            for index, (key, value) in enumerate(snapshot.state.items()):
                _write_item(group, str(index), key, value)


def newest(folder: Path) -> Snapshot | None:
    """Return the last commit in a folder, None when there is none."""
    names = sorted(folder.glob("*.state.h5")) if folder.is_dir() else []
    if not names:
        return None
    try:
        with h5py.File(names[-1], "r") as file:
            record = json.loads(file.attrs["record"])
            state = None
            if "state" in file:
                state = dict(_read_item(item) for item in _by_number(file["state"]))
    except (OSError, KeyError, ValueError) as error:
        raise ResultsError(
            str(names[-1]), f"the saved state cannot be read ({error})", "--force starts anew"
        ) from error
    layouts = record.pop("layouts")
    for layout in layouts.values():
        layout["dims"], layout["shape"] = tuple(layout["dims"]), tuple(layout["shape"])
    record["data"] = tuple(record["data"])
    found = {name: Layout(**layout) for name, layout in layouts.items()}
    return Snapshot(**record, layouts=found, state=state)


def clean(folder: Path, snapshot: Snapshot) -> None:
    """Remove the files that do not count for a commit."""
    counts = {*snapshot.data, *snapshot.puts.values(), f"{snapshot.number:06d}.state.h5", "lock"}
    for path in folder.iterdir():
        if path.name not in counts:
            path.unlink(missing_ok=True)


def check_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state, or raise TypeError when it holds what cannot be stored as numbers or text."""
    for key, value in state.items():
        if isinstance(value, (str, bool, int, float)):
            continue
        if np.asarray(value).dtype.kind not in "biufcU":
            raise TypeError(f"state '{key}': give an array, number or text, not {type(value)}")
    return dict(state)


def check_same(folder: Path, old: Snapshot, new: Snapshot) -> None:
    """Raise ResultsError when an unfinished run is another one than is asked for now."""
    found = _differences(old.header, new.header)
    if found:
        raise ResultsError(
            str(folder),
            "holds an unfinished run of another description: " + "; ".join(found),
            "resume it with the same protocol and seed, or start anew (--force, or delete it)",
        )


def is_same(path: Path, new: Snapshot) -> bool:
    """Return whether a finished file has the description and seed that are asked for now."""
    try:
        with h5py.File(path, "r") as file:
            return not _differences(dict(file.attrs), new.header)
    except OSError:
        return False


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two headers in protocol, model and seed."""
    found = []
    for part in ("protocol", "model"):
        before, after = _flat(old.get(part, "")), _flat(new.get(part, ""))
        for key in sorted(before.keys() | after.keys()):
            was, now = before.get(key, MISSING), after.get(key, MISSING)
            if repr(was) != repr(now):
                found.append(f"{part}, {key}: {_shown(was)} there, {_shown(now)} now")
    was, now = old.get("seed", MISSING), new.get("seed", MISSING)
    if was is not now and (was is MISSING or now is MISSING or was != now):
        found.append(f"seed: {_shown(was)} there, {_shown(now)} now")
    return found[:8] + ([f"and {len(found) - 8} more"] if len(found) > 8 else [])


def _flat(text: str) -> dict[str, Any]:
    """Return TOML as {dotted key: value}; other text under one key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {"text": text}
    flat: dict[str, Any] = {}

    def walk(prefix: str, item: Any) -> None:
        if isinstance(item, dict) and item:
            for key, value in item.items():
                walk(f"{prefix}.{key}" if prefix else key, value)
        else:
            flat[prefix] = item

    walk("", table)
    return flat


def _shown(value: Any) -> str:
    if value is MISSING:
        return "absent"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _write_item(group: h5py.Group, index: str, key: str, value: Any) -> None:
    """Store one entry of a state so that it comes back with its type."""
    kind, data = "array", np.asarray(value)
    if isinstance(value, bool):
        kind, data = "bool", data.astype(np.int8)
    elif isinstance(value, int):
        kind, data = "int", _bytes(str(value))
    elif isinstance(value, str):
        kind, data = "str", _bytes(value)
    elif isinstance(value, float):
        kind = "float"
    text = kind == "array" and data.dtype.kind == "U"
    dataset = group.create_dataset(
        index, data=data.astype(object) if text else data, dtype=STRING if text else data.dtype
    )
    dataset.attrs["key"], dataset.attrs["kind"] = key, kind


def _read_item(dataset: h5py.Dataset) -> tuple[str, Any]:
    kind, value = dataset.attrs["kind"], dataset[()]
    if kind == "bool":
        value = bool(value)
    elif kind == "float":
        value = float(value)
    elif kind in ("int", "str"):
        text = np.asarray(value).tobytes().decode()
        value = int(text) if kind == "int" else text
    elif h5py.check_string_dtype(dataset.dtype):
        value = np.asarray(dataset.asstr()[()], dtype=str)
    return str(dataset.attrs["key"]), value


def _by_number(group: h5py.Group) -> list[h5py.Dataset]:
    return [group[name] for name in sorted(group, key=int)]


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)
