"""The index of a folder of results: a table rebuilt by scanning the files."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from dfc_neuro.errors import ResultsError
from dfc_neuro.files.keys import flat
from dfc_neuro.results import LabelledArray, Result, scan


def scalars(result: Result) -> dict[str, float]:
    """Return the measures of a result that are single numbers."""
    found = {}
    for name in result.measures:
        measure = result.measures[name]
        if not isinstance(measure, LabelledArray):
            continue
        values = measure.values
        if values.size == 1 and values.dtype.kind in "fiub":
            found[name] = float(values.ravel()[0])
    return found


def write_index(directory: Path, name: str) -> Path:
    """Write ``NAME-runs.csv``: file, seed, the keys in which the runs differ, the measures."""
    rows: list[tuple[str, int, dict[str, Any], dict[str, float]]] = [
        (r.path.name, int(r.attrs.get("seed", 0)), flat(r.protocol), scalars(r))
        for r in scan(directory, name)]
    keys = dict.fromkeys(key for row in rows for key in row[2])
    differing = [key for key in keys if len({repr(row[2].get(key)) for row in rows}) > 1]
    measures = list(dict.fromkeys(key for row in rows for key in row[3]))
    path = directory / f"{name}-runs.csv"
    temporary = directory / f".{path.name}.{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["file", "seed", *differing, *measures])
            for file_name, seed, held, measured in rows:
                table.writerow([file_name, seed, *(held.get(key, "") for key in differing),
                                *(measured.get(key, "") for key in measures)])
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ResultsError(str(path), f"cannot be written ({error.strerror})",
                           "free some space; the same command goes on") from error
    return path
