"""The format of a result file: its schema, how values become HDF5, how files become durable."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dfc_neuro.errors import DiskError

SCHEMA = "dfc_neuro result 1"
NO_COORDINATE = "This is a netCDF dimension but not a netCDF variable."
STRING = h5py.string_dtype("utf-8")
BLOCK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Layout:
    """What is known of a variable apart from its numbers.

    Attributes
    ----------
    dims : tuple of str
        Names of its axes.
    units : str
        Unit of its values, "1" when they have none, "" when it does not apply.
    dtype : str
        NumPy's name of the type on disk, or "str".
    boolean : bool
        Stored as int8, to be read as bool.
    shape : tuple of int
        Its size; the first axis of an extended variable grows.
    scale_units : dict
        Units of the coordinates, by dim; a dim without coordinates is absent.
    grows : bool
        Extended along the first axis.
    """

    dims: tuple[str, ...]
    units: str
    dtype: str
    boolean: bool
    shape: tuple[int, ...]
    scale_units: dict[str, str] = field(default_factory=dict)
    grows: bool = False

    def h5_dtype(self) -> Any:
        """Return the type that h5py is given."""
        return STRING if self.dtype == "str" else np.dtype(self.dtype)


class _Disk(io.FileIO):
    """A file to be written that keeps a failure to itself until the HDF5 library is done.

    HDF5 leaves a file that it could not write half open and crashes the process at its end.  So
    it is told that all is well, and `error` says otherwise.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        if self.error is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.error = error
        return size or 0


class NewFile:
    """An HDF5 file in the making, as `file`.

    Parameters
    ----------
    path : path
        What is there is replaced.
    """

    def __init__(self, path: Path):
        self.path = path
        self._disk = _Disk(path, "w+")
        self.file = h5py.File(self._disk, "w")

    def check(self) -> None:
        """Raise OSError when something could not be written."""
        if self._disk.error is not None:
            raise self._disk.error

    def close(self) -> None:
        """Write what is left, and close; raise OSError when that failed."""
        self.file.close()
        with contextlib.suppress(OSError):
            self._disk.close()
        self.check()

    def make_durable(self, final: Path) -> None:
        """Close, then give the file its name, so that a crash leaves the old or the new one."""
        self.close()
        with open(self.path, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(self.path, final)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def new_file(path: Path, final: Path) -> Iterator[NewFile]:
    """Write an HDF5 file under a temporary name; it gets its name when all went well."""
    new = NewFile(path)
    try:
        yield new
        new.check()
    except BaseException:
        with contextlib.suppress(OSError):
            new.close()
        raise
    new.make_durable(final)


@contextmanager
def writing(path: Path, remedy: str) -> Iterator[None]:
    """Turn a failure to write below `path` into a DiskError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DiskError(str(path), f"cannot be written ({reason})", remedy) from error


def to_disk(values: Any, what: str) -> tuple[np.ndarray, str, bool]:
    """Return values as an array that HDF5 holds, the name of its type, and whether it is boolean.

    Raises
    ------
    TypeError
        For objects other than text: a result file is never a pickle.
    """
    array = np.asarray(values)
    if array.dtype.kind == "T" or (array.dtype.kind == "O" and _all_text(array)):
        array = array.astype(str)
    if array.dtype.kind == "U":
        return array.astype(object), "str", False
    if array.dtype.kind == "b":
        return array.astype(np.int8), "|i1", True
    if array.dtype.kind not in "iufc":
        raise TypeError(f"{what}: cannot store values of type {array.dtype}; give numbers or text")
    return array, array.dtype.str, False


def _all_text(array: np.ndarray) -> bool:
    return all(isinstance(item, str) for item in array.flat)


def check_variable(name: str, array: np.ndarray, dims: Sequence[str]) -> tuple[str, ...]:
    """Return the dims of a variable, or raise ValueError when they cannot label it."""
    group, _, variable = name.rpartition("/")
    parts = name.split("/")
    if not group or not all(parts):
        raise ValueError(f"'{name}': a variable is named 'group/name', e.g. 'metrics/loss'")
    dims = (dims,) if isinstance(dims, str) else tuple(dims)
    if len(dims) != array.ndim or len(set(dims)) != len(dims):
        raise ValueError(f"{name}: dims {dims} do not label an array of shape {array.shape}")
    if variable in dims:
        raise ValueError(f"{name}: is named as its dim '{variable}'; give coordinates as scales")
    return dims


def split_scales(
    scales: Mapping[str, Any] | None, dims: tuple[str, ...], shape: tuple[int, ...], name: str
) -> dict[str, tuple[np.ndarray, str]]:
    """Return {dim: (coordinates, units)} from {dim: coordinates or (coordinates, units)}."""
    found = {}
    for dim, given in (scales or {}).items():
        pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], str)
        values, units = given if pair and not isinstance(given[0], str) else (given, "")
        if dim not in dims:
            raise ValueError(f"{name}: scale '{dim}' is not one of its dims {dims}")
        array = np.asarray(values)
        if array.shape != (shape[dims.index(dim)],):
            raise ValueError(
                f"{name}: scale '{dim}' has shape {array.shape}, its axis {shape[dims.index(dim)]}"
            )
        found[dim] = (array, units)
    return found


def rows(shape: tuple[int, ...], itemsize: int) -> Iterator[slice]:
    """Yield slices along the first axis that together cover it, each about 8 MiB."""
    row = max(1, int(np.prod(shape[1:], dtype=np.int64)) * itemsize)
    step = max(1, BLOCK_BYTES // row)
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))
