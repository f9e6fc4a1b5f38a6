"""How a writer starts: what it may replace, what it continues, what its header says."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dfc_neuro.errors import BusyError, ResultsError
from dfc_neuro.results import _snapshot
from dfc_neuro.results._lock import Lock
from dfc_neuro.results._provenance import environment
from dfc_neuro.results._snapshot import Snapshot


def to_resume(
    path: Path, folder: Path, new: Snapshot, force: bool, resume: bool
) -> Snapshot | None:
    """Return the commit to continue from, if any; refuse to lose a file or an unfinished run."""
    where = str(path)
    if path.is_dir():
        raise ResultsError(where, "is a folder", "give the name of a file")
    found = _snapshot.newest(folder) if resume or not force else None
    if found is not None and found.state is None:
        found = None
    if path.exists() and not force:
        if resume and found is None:
            raise ResultsError(where, "is finished, there is nothing to resume", "--force reruns")
        if not (resume and _snapshot.is_same(path, new)):
            remedy = "--force overwrites it, -o writes another file"
            if found is not None:
                remedy += "; --force --resume continues the unfinished run that will replace it"
            raise ResultsError(where, "exists", remedy)
    if found is not None and not force and not resume:
        raise ResultsError(
            str(folder), "holds an unfinished run", "--resume continues it, --force starts anew"
        )
    if found is not None:
        _snapshot.check_same(folder, found, new)
    return found


def is_debris(path: Path, folder: Path) -> bool:
    """Return whether a folder is what a kill left of a run whose file had its name already."""
    if not path.is_file():
        return False
    try:
        last = _snapshot.newest(folder)
        if last is None or last.state is None:
            return True  # nothing to continue from
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("created") == last.header["created"])
    except (OSError, ResultsError):
        return False


def remove_debris(path: Path) -> None:
    """Remove what a kill left beside a finished file, unless somebody writes that file anew."""
    folder = _snapshot.partial_folder(path)
    if path.is_file() and folder.is_dir():
        with contextlib.suppress(BusyError):
            lock = Lock(folder / "lock", path)
            if is_debris(path, folder):
                shutil.rmtree(folder, ignore_errors=True)
            lock.close()


def attribute(key: str, value: Any) -> str | int | float | bool:
    """Return an attribute as a plain Python value."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (str, int, float, bool)):
        raise TypeError(f"header '{key}': give text or a number, not {type(value).__name__}")
    return value


def with_versions(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Note in the header of a resumed run where versions or machine changed on the way."""
    changed = {k: f"{old[k]}, then {new[k]}" for k in environment() if old.get(k) != new[k]}
    return old | {k: v for k, v in changed.items() if not str(old.get(k)).endswith(str(new[k]))}


def now() -> str:
    """Return the time of the day, UTC, as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
