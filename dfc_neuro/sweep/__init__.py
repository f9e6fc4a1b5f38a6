"""Grids of runs on Dask: a local cluster, or any scheduler by its address.

A run is named by the hash of what it computes.  Finished ones are skipped and unfinished ones go
on from their last checkpoint, so the same command continues a grid whatever stopped it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfc_neuro.errors import DiskError, InputError
from dfc_neuro.results import Result, remove_debris
from dfc_neuro.statistics import comparison
from dfc_neuro.sweep._grid import Point, points
from dfc_neuro.sweep._index import scalars, write_index


@dataclass(frozen=True)
class Run:
    """One run of a grid: its point, and what became of it.

    `status` is "found" (it was there already), "done" or "failed"; then `message` says why.
    """

    point: Point
    status: str
    message: str = ""


@dataclass(frozen=True)
class Sweep:
    """A grid of runs and the index of all results of its protocol."""

    name: str
    runs: tuple[Run, ...]
    index: Path

    @property
    def failed(self) -> list[Run]:
        """Return the runs that have no result."""
        return [run for run in self.runs if run.status == "failed"]

    def results(self) -> list[Result]:
        """Return the results there are, in the order of the grid."""
        return [Result(run.point.path) for run in self.runs if run.status != "failed"]

    def values(self, measure: str) -> dict[str, dict[int, float]]:
        """Return a measure as {label of the point: {seed: value}}."""
        found: dict[str, dict[int, float]] = {}
        for run in self.runs:
            if run.status != "failed":
                value = scalars(Result(run.point.path)).get(measure)
                if value is not None:
                    found.setdefault(run.point.label, {})[run.point.seed] = value
        return found

    def summary(self, measures: Sequence[str] | None = None) -> list[str]:
        """Return lines that compare the points of the grid.

        Each has the mean over its seeds with a bootstrap interval, and the difference to the
        first, paired by seed.

        Parameters
        ----------
        measures : sequence of str, optional
            Which; the test error of learning protocols, all of recordings if not given.
        """
        if measures is None:
            here = self.results()
            known = dict.fromkeys(name for result in here for name in scalars(result))
            measures = ["test_error"] if "test_error" in known else list(known)
        lines: list[str] = []
        for name in measures:
            groups = self.values(name)
            if groups:
                lines += [name.replace("_", " "), *(f"  {x}" for x in comparison(groups))]
        return lines


def sweep(
    protocol: str | Path,
    *,
    over: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | Sequence[int] = 1,
    keys: Mapping[str, Any] | None = None,
    quick: bool = False,
    scheduler: str | None = None,
    workers: int | None = None,
    directory: str | Path = "results",
    progress: bool = True,
) -> Sweep:
    """Run a protocol at every point of a grid, in parallel, for some seeds each.

    Parameters
    ----------
    protocol : str or Path
        Name or path.
    over : dict, optional
        Key: the values that it takes; the grid has all combinations.
    seeds : int or sequence of int
        How many (0, 1, ...), or which.
    keys : dict, optional
        Keys that are the same in all runs.
    quick : bool
        The small size of the protocol.
    scheduler : str, optional
        Address of a running Dask scheduler, ``tcp://HOST:PORT``, whose workers see the same
        folders; a cluster on this machine if not given.
    workers : int, optional
        Processes of that cluster; as many as there are processors if not given.
    directory : path
        Where results lie; a file a run, and the index ``NAME-runs.csv``.
    progress : bool
        Whether to show a progress bar over the grid.

    Returns
    -------
    Sweep

    Raises
    ------
    InputError
        If the extra `cluster` is missing, or anything in the protocol or the grid is wrong;
        nothing has run then.
    DiskError
        If the disk is full.
    KeyboardInterrupt
        After Ctrl-C, also at the processes of a cluster on this machine, which have ended.
    """
    _check_installed()
    from dfc_neuro.sweep._cluster import run_all

    folder = Path(directory).absolute()
    grid = points(protocol, over or {}, seeds, dict(keys or {}), quick, folder)
    try:
        outcome = run_all(grid, protocol, quick, scheduler, workers, progress)
    except DiskError as error:
        raise DiskError(error.where, error.found, "free some space there, or permit writing; "
                        + _kept(grid)) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped: {_kept(grid)}") from None
    for point in grid:
        remove_debris(point.path)
    name = Path(protocol).name.removesuffix(".toml")
    runs = tuple(Run(point, *outcome[point.path]) for point in grid)
    return Sweep(name, runs, write_index(folder, name))


def _kept(grid: Sequence[Point]) -> str:
    return (f"{sum(point.path.exists() for point in grid)} of {len(grid)} runs are finished and "
            "kept, and the same command goes on")


def _check_installed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise InputError("sweep", "needs the packages of the extra 'cluster', which are not "
                         "installed", "pip install 'dfc-neuro[cluster]'") from None
