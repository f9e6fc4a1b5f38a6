"""How a writer starts: what it may replace, what it continues, what its header says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dfc_neuro.errors import ResultsError
from dfc_neuro.results import _snapshot
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
    return datetime.now(UTC).isoformat(timespec="seconds")
