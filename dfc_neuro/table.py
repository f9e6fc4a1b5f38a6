"""A table of numbers as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FORMATS = ("md", "tex", "csv")
_TEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#",
        "$": r"\$", "{": r"\{", "}": r"\}", "°": r"$^\circ$", "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}"}


@dataclass(frozen=True)
class Table:
    """Cells as they are shown, and the numbers behind them.

    Parameters
    ----------
    head : sequence of str
        The first row; its first entry is above the labels of the rows.
    rows : sequence of sequence of str
        Label and cells.
    records : sequence of dict
        The numbers, one a cell, for CSV; all have the same keys.
    notes : sequence of str
        Said below the table.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    records: Sequence[Mapping[str, Any]] = field(default_factory=list)
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """Return the table for a terminal."""
        whole = [self.head, *self.rows]
        widths = [max(len(row[k]) for row in whole) for k in range(len(self.head))]
        lines = ["  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip()
                 for row in whole]
        return [lines[0], "-" * max(map(len, lines)), *lines[1:], *self.notes]

    def markdown(self) -> str:
        """Return the table in Markdown."""
        lines = [f"| {' | '.join(row)} |" for row in (self.head, *self.rows)]
        lines.insert(1, "|" + "---|" * len(self.head))
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"

    def latex(self) -> str:
        """Return the table in LaTeX, for the package booktabs."""
        def row(cells: Sequence[str]) -> str:
            return " & ".join(_tex(cell) for cell in cells) + r" \\"

        return "\n".join([
            rf"\begin{{tabular}}{{l{'r' * (len(self.head) - 1)}}}", r"\toprule", row(self.head),
            r"\midrule", *map(row, self.rows), r"\bottomrule", r"\end{tabular}",
            *(f"% {note}" for note in self.notes)]) + "\n"

    def csv(self) -> str:
        """Return the records as CSV."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.records[0]) if self.records else [],
                                lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records)
        return text.getvalue()

    def written_as(self, kind: str) -> str:
        """Return the table in one of FORMATS."""
        return {"md": self.markdown, "tex": self.latex, "csv": self.csv}[kind]()


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)
