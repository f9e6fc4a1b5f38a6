"""Put rules through all experiments and the learning benchmark, and write one page of it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from dfc_neuro.errors import ResultsError
from dfc_neuro.files import library
from dfc_neuro.laboratory import battery, page
from dfc_neuro.results import Result

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """What was compared: the page, and results by rule and protocol.

    ``results[rule][protocol]`` is a list of Result (one for each seed), empty where the rule does
    not run; ``reasons[rule][protocol]`` then says why.
    """

    path: Path
    results: dict[str, dict[str, list[Result]]]
    reasons: dict[str, dict[str, str]]


def compare(
    rules: Sequence[str | Path],
    *,
    cell: str | None = None,
    out: str | Path | None = None,
    quick: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Comparison:
    """Put rules through every experiment and the learning benchmark, in parallel.

    Parameters
    ----------
    rules : sequence of str or Path
        Names or paths of rules.
    cell : str, optional
        The cell of all experiments, instead of each protocol's own.
    out : path, optional
        The folder to write to; ``results/compare`` if not given.
    quick : bool
        The small size of everything: for a look, not for conclusions.
    workers : int, optional
        Processes; as many as there are processors if not given.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If a rule or the cell cannot be used, before anything runs.
    """
    began = time.monotonic()
    found = battery.named(rules)
    if cell is not None:
        library.find(cell, ("cell",), "--cell")
    folder = _folder(Path(out) if out is not None else Path("results/compare"))
    made, outcomes = battery.tasks(found, cell, folder / "runs", quick)
    number = workers or os.cpu_count() or 1
    log.info("%d runs in %d processes", len(made), number)
    with tqdm(total=len(made), disable=not progress, unit="run") as bar:
        battery.run_all(made, outcomes, number, lambda task: bar.update())
    results = {name: {p: [Result(path) for path in outcomes[name, p].paths]
                      for p in (*battery.EXPERIMENTS, battery.BENCHMARK)} for name in found}
    reasons = {name: {p: outcome.reason for (rule, p), outcome in outcomes.items() if rule == name}
               for name in found}
    path = folder / "index.html"
    path.write_text(page.write(found, results, reasons, folder / "figures", quick, cell),
                    encoding="utf-8")
    log.info("compared %s in %.0f s", ", ".join(found), time.monotonic() - began)
    return Comparison(path, results, reasons)


def _folder(folder: Path) -> Path:
    """Make sure of the folders to write to, before anything runs."""
    try:
        for name in ("runs", "figures"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(str(folder), f"cannot be written to ({error.strerror})",
                           "choose another folder with -o") from error
    return folder


