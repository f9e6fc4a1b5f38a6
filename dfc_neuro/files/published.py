"""Published measurements: CSV files of conditions, mean, sd and n, drawn beside a simulation.

The first line says where the numbers are from, ``# source: ...``.  Columns other than mean, sd and
n give the keys of a condition, or its name (``condition``); sd and n may be empty.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.files import keys as dotted
from dfc_neuro.files import library, units

NUMBERS = ("mean", "sd", "n")
_LARGEST = 100_000  # bytes


@dataclass(frozen=True)
class Published:
    """Rows of (keys of the condition, mean, sd, n), and where they are from."""

    name: str
    source: str
    rows: tuple[tuple[dict[str, str], float, float, float], ...]

    def find(self, condition: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return mean, sd and n of a condition; NaN where nothing is published."""
        for keys, *numbers in self.rows:
            if all(key in condition and dotted.same(condition[key], value)
                   for key, value in keys.items()):
                return numbers[0], numbers[1], numbers[2]
        return np.nan, np.nan, np.nan


def read(name: str | Path, where: str = "", beside: Path | None = None) -> Published:
    """Read a file of published measurements.

    Parameters
    ----------
    name : str or Path
        A name in protocols/data, or the path of a user's own file.
    where : str
        File and key that hold the name, for messages.
    beside : Path, optional
        Folder that paths are tried relative to first.

    Raises
    ------
    ProtocolError
        If there is no such file, or a line of it cannot be read; it names the line.
    """
    path = _find(str(name), where, beside)
    if path.stat().st_size > _LARGEST:
        raise ProtocolError(str(path), f"has more than {_LARGEST} bytes", "keep to the means")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ProtocolError(str(path), "is no text in UTF-8", "give a CSV file") from None
    lines = text.splitlines()
    comments = [line.lstrip("# ") for line in lines if line.startswith("#")]
    source = next((c.partition(":")[2].strip() for c in comments if c.startswith("source:")), "")
    if not source:
        raise ProtocolError(f"{path}, line 1", "the source is missing",
                            "write '# source: who measured this, and where it is read'")
    numbered = [(k, line) for k, line in enumerate(lines, 1)
                if line.strip() and not line.startswith("#")]
    header = [c.strip() for c in numbered[0][1].split(",")] if numbered else []
    if not set(NUMBERS) <= set(header) or len(set(header)) < len(header):
        raise ProtocolError(f"{path}, header", f"found '{','.join(header)}'",
                            "write the keys of the conditions, then mean,sd,n")
    if len(numbered) < 2:
        raise ProtocolError(f"{path}", "holds no measurement", "write a line below the header")
    rows = tuple(_row(header, line, f"{path}, line {k}") for k, line in numbered[1:])
    return Published(path.stem, source, rows)


def _row(header: list[str], line: str, where: str
         ) -> tuple[dict[str, str], float, float, float]:
    cells = [c.strip() for c in next(csv.reader([line]))]
    if len(cells) != len(header):
        raise ProtocolError(where, f"has {len(cells)} columns, the header {len(header)}",
                            "leave sd or n empty, but keep the commas")
    named = dict(zip(header, cells, strict=True))
    numbers = []
    for key in NUMBERS:
        try:
            numbers.append(float(named[key]) if named[key] else np.nan)
        except ValueError:
            raise ProtocolError(f"{where}, {key}", f"found '{named[key]}'",
                                "a number, or nothing where none is known") from None
    if np.isnan(numbers[0]):
        raise ProtocolError(f"{where}, mean", "is missing", "leave the line out")
    for key in set(header) - set(NUMBERS) - {"condition"}:
        try:
            units.parse(named[key])
        except ValueError as error:
            if not named[key].replace("_", "").isalnum():
                raise ProtocolError(f"{where}, {key}", str(error)) from None
    mean, sd, n = numbers
    return {k: v for k, v in named.items() if k not in NUMBERS}, mean, sd, n


def _find(name: str, where: str, beside: Path | None) -> Path:
    if "/" in name or name.endswith(".csv"):
        for base in ([beside] if beside else []) + [Path()]:
            if (base / name).is_file():
                return base / name
        raise ProtocolError(where or name, f"'{name}': there is no such file",
                            "give the path of a CSV file")
    shipped = {p.stem: p for p in sorted((library.folder("protocol") / "data").glob("*.csv"))}
    if name not in shipped:
        raise ProtocolError(where or name, f"unknown data '{name}'", near(name, shipped))
    return shipped[name]
