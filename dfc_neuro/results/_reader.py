"""Read a result file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dfc_neuro.errors import ResultsError, near
from dfc_neuro.results._format import NO_COORDINATE, SCHEMA
from dfc_neuro.results._labelled import Group, LabelledArray, UnknownNameError
from dfc_neuro.results._snapshot import partial_folder


class Result:
    """A finished result file, read-only; arrays are read when they are asked for.

    ``result["voltages"]`` is a recording (or else the spikes) of that name.

    Parameters
    ----------
    path : path
        The file.

    Attributes
    ----------
    attrs : dict
        Versions, engine, seed, status, ...
    recordings, spikes, weights, metrics, measures, published : Group
    derived, connections, positions : Group
        What the file holds.

    Raises
    ------
    ResultsError
        If the file is missing, damaged, or not a result of a known schema.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.attrs = _read_attributes(self.path)
        self.recordings = self._group("recordings")
        self.spikes = self._group("spikes")
        self.weights = self._group("weights")
        self.metrics = self._group("metrics")
        self.measures = self._group("measures")
        self.published = self._group("published")
        self.derived = self._group("derived")
        self.connections = self._group("connections")
        self.positions = self._group("positions")

    @property
    def protocol(self) -> dict[str, Any]:
        """The resolved protocol that ran."""
        return tomllib.loads(self.attrs.get("protocol", ""))

    @property
    def model(self) -> dict[str, Any]:
        """The resolved model that ran."""
        return tomllib.loads(self.attrs.get("model", ""))

    def __getitem__(self, name: str) -> Group:
        for place in (self.recordings, self.spikes):
            if name in place:
                return place[name]
        known = [*self.recordings, *self.spikes]
        raise UnknownNameError(str(self.path), f"has no recording '{name}'", near(name, known))

    def __contains__(self, name: object) -> bool:
        return name in self.recordings or name in self.spikes

    def __repr__(self) -> str:
        parts = {k: getattr(self, k) for k in ("recordings", "spikes", "metrics", "measures")}
        held = ", ".join(f"{k}: {' '.join(v)}" for k, v in parts.items() if v)
        return f"<Result {self.path} ({self.attrs.get('status', '')}) {held}>"

    def _group(self, name: str) -> Group:
        """Return a group whose variables are read when asked for."""
        with _reading(self.path) as file:
            readers: dict[str, Callable[[], Any]] = {}
            dims: set[str] = set()
            for key, item in file[name].items() if name in file else ():
                path = f"{name}/{key}"
                if isinstance(item, h5py.Group):
                    readers[key] = partial(self._group, path)
                elif not item.is_scale:
                    readers[key] = partial(_read_variable, self.path, path)
                    dims.update(_dims(item))
        return Group(f"{self.path}, {name}", readers, frozenset(dims))


@contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; what goes wrong inside becomes a ResultsError."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise _explain(path, error) from error


def _explain(path: Path, error: BaseException) -> ResultsError:
    """Say what is wrong with a file that cannot be read."""
    where = str(path)
    if not path.exists():
        if partial_folder(path).is_dir():
            return ResultsError(where, "is an unfinished run", "run it again with --resume")
        return ResultsError(where, "no such file", "dfc-neuro run PROTOCOL writes one")
    if path.is_dir():
        return ResultsError(where, "is a folder", "give a result file (.h5)")
    if isinstance(error, PermissionError):
        return ResultsError(where, "may not be read", "check its permissions")
    if h5py.is_hdf5(path):
        return ResultsError(
            where, "is damaged or cut off", "copy it again, or run it again with --force"
        )
    return ResultsError(where, "is not an HDF5 file", "give a file written by dfc-neuro run")


def _read_attributes(path: Path) -> dict[str, Any]:
    with _reading(path) as file:
        attributes = {k: _plain(v) for k, v in file.attrs.items()}
    schema = attributes.get("schema")
    if schema == SCHEMA:
        return attributes
    if isinstance(schema, str) and schema.startswith("dfc_neuro result "):
        raise ResultsError(
            str(path), f"has schema '{schema}', this is '{SCHEMA}'", "update dfc-neuro"
        )
    raise ResultsError(
        str(path),
        "is HDF5, but no result of dfc-neuro (it has no such schema attribute)",
        "give a file written by dfc-neuro run",
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _read_variable(path: Path, name: str) -> LabelledArray:
    with _reading(path) as file:
        dataset = file[name]
        dims = _dims(dataset)
        coords, units = {}, {}
        for axis, dim in enumerate(dims):
            scale = dataset.dims[axis][0]
            label = scale.attrs.get("NAME", b"")
            if (label.decode() if isinstance(label, bytes) else label).startswith(NO_COORDINATE):
                continue
            coords[dim] = _read_array(scale)
            if "units" in scale.attrs:
                units[dim] = str(scale.attrs["units"])
        unit = str(dataset.attrs.get("units", ""))
        return LabelledArray(_read_array(dataset), dims, coords, unit, f"{path}, {name}", units)


def _dims(dataset: h5py.Dataset) -> tuple[str, ...]:
    return tuple(str(d) for d in dataset.attrs.get("dims", ()))


def _read_array(dataset: h5py.Dataset) -> np.ndarray:
    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[()], dtype=str)
    values = np.asarray(dataset[()])
    return values.astype(bool) if dataset.attrs.get("dtype") == "bool" else values
