"""Recompute every quantity of a reference file, and say how far off each one is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from dfc_neuro.errors import DataError, NumericalError
from dfc_neuro.verify._case import Case, read_case

__all__ = ["TOLERANCE", "Case", "error", "read_case", "verify"]

Array = np.ndarray
TOLERANCE = 1e-10
INPUTS = re.compile(r"parameters/[WbQ]\d+|input|target|feedback_learning/noise\d+")


def error(found: Array, expected: Array) -> float:
    """Return max|found - expected| / max|expected|; absolute where `expected` is zero.

    Equal values count as 0, also where both are the same infinity or both not a number; any
    other value that is not finite makes the error infinite.
    """
    if expected.size == 0:
        return 0.0
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    off = np.zeros(expected.shape)
    np.subtract(found, expected, out=off, where=~same)
    size = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    worst = np.abs(off).max()
    if not np.isfinite(worst):
        return float("inf")
    return float(worst / size) if size else float(worst)


def verify(path: str | Path, *, tolerance: float = TOLERANCE,
           echo: Callable[[str], object] = print) -> int:
    """Recompute a reference file and print the largest error of each quantity of each case.

    Parameters
    ----------
    path : path
        An HDF5 file with a group a case; tests/data/README.md describes the layout.
    tolerance : float
        Largest error that passes; an error is max|a - b| / max|b|.
    echo : callable
        Takes the lines of the report.

    Returns
    -------
    int
        0 if every quantity is within the tolerance, else 1.

    Raises
    ------
    DataError
        If the file is missing, damaged, or not of the layout; the message names the place.
    NumericalError
        If a linear system of a case has no solution.
    """
    path = Path(path)
    checked, failures = 0, []
    with _open(path) as file:
        cases = [name for name, item in file.items() if isinstance(item, h5py.Group)]
        if not cases:
            raise DataError(str(path), "holds no case", "every case is a group of the file")
        for name in cases:
            count, off = _verify_case(file[name], f"{path}: {name}", tolerance, echo)
            checked += count
            failures += [f"{name}/{dataset}: {size:.1e}" for dataset, size in off]
    if failures:
        echo(f"{len(failures)} of {checked} datasets are off by more than {tolerance:g}:")
        for line in failures:
            echo(f"  {line}")
        return 1
    echo(f"all {checked} datasets are within {tolerance:g}")
    return 0


def _open(path: Path) -> h5py.File:
    remedy = "give an HDF5 file of reference numbers"
    if not path.exists():
        raise DataError(str(path), "no such file", remedy)
    if path.is_dir():
        raise DataError(str(path), "is a folder", remedy)
    try:
        return h5py.File(path, "r")
    except PermissionError:
        raise DataError(str(path), "may not be read", "change its permissions") from None
    except OSError as problem:
        if "truncated" in str(problem):
            raise DataError(str(path), "is truncated", "get the file again") from problem
        raise DataError(str(path), "is not an HDF5 file, or damaged", remedy) from problem


def _verify_case(group: h5py.Group, where: str, tolerance: float,
                 echo: Callable[[str], object]) -> tuple[int, list[tuple[str, float]]]:
    from dfc_neuro.verify._recompute import Recomputed

    case = read_case(group, where)
    work = Recomputed(case)
    name = where.rpartition(": ")[2]
    echo(f"{name}: {'-'.join(map(str, case.net.sizes))}, "
         f"{', '.join(case.net.nonlinearities)}, {case.loss}, {len(case.x)} samples")
    unstable = work.instability()
    if unstable:
        echo(f"  unstable: the leading eigenvalue of {unstable[0]} is {unstable[1]:+.3g}, "
             "so the controlled state grows")
    worst: dict[str, float] = {}
    done: set[str] = set()
    off = []
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            for dataset, found in work.quantities():
                expected = case.source.array(dataset, found.shape).astype(np.float64)
                size = error(found, expected)
                done.add(dataset)
                family = re.sub(r"\d+$", "", dataset)  # all layers together
                worst[family] = max(worst.get(family, 0.0), size)
                if not size <= tolerance:
                    off.append((dataset, size))
    except np.linalg.LinAlgError as problem:
        raise NumericalError(f"{where}: a linear system has no solution ({problem})") from problem
    width = max(map(len, worst))
    for family, size in worst.items():
        echo(f"  {family:<{width}}  {size:.1e}" + ("" if size <= tolerance else "  <-- off"))
    for part in ("ssa", "dynamics", "feedback_learning", "references"):
        if part not in group:
            echo(f"  {part}: not in the file")
    for dataset in _datasets(group):
        if dataset not in done and not INPUTS.fullmatch(dataset):
            echo(f"  {dataset}: not a quantity that verify knows, not checked")
    return len(done), off


def _datasets(group: h5py.Group) -> list[str]:
    found: list[str] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(name)

    group.visititems(visit)
    return found
