"""Find the finished results of a protocol in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dfc_neuro.errors import ResultsError
from dfc_neuro.results._reader import Result


def scan(directory: Path, name: str) -> Iterator[Result]:
    """Yield the finished results of a protocol in a folder; damaged files are passed over."""
    for path in sorted(directory.glob("*.h5")):
        try:
            result = Result(path)
        except ResultsError:
            continue
        if result.attrs.get("name") == name:
            yield result
