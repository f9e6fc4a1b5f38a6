"""Write a result file: partial data in numbered files, merged and renamed at the end.

``FILE.h5.partial/`` holds, for commit number n,

- ``n.data.h5``: what was extended since the commit before, one HDF5 group a variable;
- ``n.put.h5``: what was put since the commit before;
- ``n.state.h5``: the state for a resumed run, the header, and the list of the files that count.

Each is written under a temporary name, synchronised and renamed, the state file last: its
appearance is the commit.  Files that the newest state file does not list do not count.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dfc_neuro.errors import ResultsError
from dfc_neuro.results import _format, _snapshot
from dfc_neuro.results._format import Layout
from dfc_neuro.results._labelled import LabelledArray
from dfc_neuro.results._lock import Lock
from dfc_neuro.results._merge import merge
from dfc_neuro.results._provenance import environment
from dfc_neuro.results._reader import Result
from dfc_neuro.results._snapshot import Snapshot
from dfc_neuro.results._start import attribute, is_debris, now, to_resume, with_versions

Derive = Callable[[Result], Mapping[str, LabelledArray]]
REMEDY = "free some space or choose another file with -o; --resume continues from the last save"


class Writer:
    """A result file in the making; a context manager.

    Leaving the context after an exception keeps the last checkpoint, leaving it otherwise
    finishes the file.

    Parameters
    ----------
    path : path
        The file to be; nothing appears there before `finish`.
    header : dict
        Attributes of the file: text and numbers, among them ``protocol`` and ``model`` (TOML)
        and ``seed``.  Versions and the kind of machine are added, None is left out.
    force : bool
        Replace a finished file, and forget an unfinished run.
    resume : bool
        Continue an unfinished run if there is one.

    Attributes
    ----------
    state : dict or None
        What the last checkpoint of the resumed run was given.

    Raises
    ------
    ResultsError
        If the file exists, cannot be written, is being written by another process, or if the
        unfinished run has another protocol, model or seed.
    """

    def __init__(
        self,
        path: str | Path,
        header: Mapping[str, Any],
        *,
        force: bool = False,
        resume: bool = False,
    ):
        self.path = Path(path)
        self.state: dict[str, Any] | None = None
        if not self.path.name:
            raise ResultsError(str(path), "is a folder", "give the name of a file with -o")
        self._folder = _snapshot.partial_folder(self.path)
        self._began = time.monotonic()
        self._files: dict[str, _format.NewFile] = {}
        self._open = False
        made = environment() | {k: attribute(k, v) for k, v in header.items() if v is not None}
        start = Snapshot(header=made | {"created": now()})
        with _format.writing(self.path, "choose another file with -o"):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self._folder / "lock", self.path)
        if is_debris(self.path, self._folder):
            _snapshot.clean(self._folder, Snapshot({}))
        self._keep = any(self._folder.glob("*.state.h5"))
        try:
            found = to_resume(self.path, self._folder, start, force, resume)
            if found is not None:
                start = replace(found, header=with_versions(found.header, made))
                self.state = found.state
            self._last, self._layouts = start, dict(start.layouts)
            self._commit(start.state)
        except BaseException:
            self._release()
            raise
        self._open = True

    def put(
        self,
        name: str,
        values: Any,
        dims: Sequence[str] = (),
        units: str = "",
        scales: Mapping[str, Any] | None = None,
    ) -> None:
        """Store values under a name, in place of what was put there before.

        Parameters
        ----------
        name : str
            ``group/variable``, e.g. ``weights/W1``.
        values : array_like
            Numbers, booleans or text.
        dims : sequence of str
            The name of each axis.
        units : str
            Unit of the values, "1" for none.
        scales : dict, optional
            Coordinates along dims: ``{dim: values}`` or ``{dim: (values, units)}``.

        Raises
        ------
        ValueError, TypeError
            If dims or scales do not fit the values, or the values are neither numbers nor text.
        ResultsError
            If the disk refuses.
        """
        array, dtype, boolean = _format.to_disk(values, name)
        dims = _format.check_variable(name, array, dims)
        parts = _format.split_scales(scales, dims, array.shape, name)
        scale_units = {dim: unit for dim, (_, unit) in parts.items()}
        layout = Layout(dims, units, dtype, boolean, array.shape, scale_units)
        if name in self._layouts and self._layouts[name].grows:
            raise ValueError(f"{name}: was extended before, so it cannot be put")
        with _format.writing(self.path, REMEDY):
            new = self._pending("put")
            file = new.file
            if name in file:
                del file[name]
            group = file.create_group(name)
            group.create_dataset("values", data=array, dtype=layout.h5_dtype())
            for dim, (coordinates, _) in parts.items():
                group.create_dataset(f"scales/{dim}", **_scale(coordinates, name, dim))
            new.check()
        self._layouts[name] = layout

    def extend(
        self,
        name: str,
        values: Any,
        dims: Sequence[str],
        units: str = "",
        scales: Mapping[str, Any] | None = None,
    ) -> None:
        """Append values along the first dim of a variable; parameters and errors as in `put`.

        The scale of the first dim holds the coordinates of these values; scales of other dims
        are taken from the first call.
        """
        array, dtype, boolean = _format.to_disk(values, name)
        dims = _format.check_variable(name, array, dims)
        if not dims:
            raise ValueError(f"{name}: a single number has no dim to extend; give a list")
        parts = _format.split_scales(scales, dims, array.shape, name)
        scale_units = {dim: unit for dim, (_, unit) in parts.items()}
        new = Layout(dims, units, dtype, boolean, array.shape, scale_units, grows=True)
        old = self._layouts.get(name, replace(new, shape=(0, *array.shape[1:])))
        if replace(old, shape=()) != replace(new, shape=()) or old.shape[1:] != new.shape[1:]:
            raise ValueError(f"{name}: cannot extend {old} by {new}")
        with _format.writing(self.path, REMEDY):
            pending = self._pending("data")
            first = name not in pending.file
            group = pending.file.require_group(name)
            _append(group, "values", array, new.h5_dtype())
            for dim, (coordinates, _) in parts.items():
                scale = _scale(coordinates, name, dim)
                if dim == dims[0]:
                    _append(group, f"scales/{dim}", scale["data"], scale["dtype"])
                elif first:
                    group.create_dataset(f"scales/{dim}", **scale)
            pending.check()
        length = old.shape[0] + array.shape[0]
        self._layouts[name] = replace(new, shape=(length, *array.shape[1:]))

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Make all that was put and extended so far, and `state`, durable at once.

        Parameters
        ----------
        state : dict
            What a resumed run needs: {str: array, float, int, bool or str}.
        """
        self._commit(_snapshot.check_state(state))

    def finish(self, status: str = "done", derive: Derive | None = None) -> Path:
        """Merge everything into the final file, give it its name, remove the partial one.

        Parameters
        ----------
        status : str
            Attribute of the file.
        derive : callable, optional
            Is given the Result as it is so far; the {name: LabelledArray} that it returns are
            put, too.
        """
        with _format.writing(self.path, REMEDY):
            if derive is not None:
                self._derive(derive)
            everything = self._seal(self._last.state)
            attributes = everything.header | {
                "schema": _format.SCHEMA,
                "status": status,
                "seconds": everything.seconds,
            }
            merge(self._folder, everything, self.path, attributes)
        self._open = False
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()
        return self.path

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._open and kind is None:
            self.finish()
        elif self._open:
            self._release()

    def _derive(self, derive: Derive) -> None:
        """Put what is computed from the file as it would be now."""
        self._last = self._seal(self._last.state)
        draft = self._folder / "draft.h5"
        merge(self._folder, self._last, draft, {"schema": _format.SCHEMA})
        for name, found in derive(Result(draft)).items():
            pairs = {d: (c, found.coord_units.get(d, "")) for d, c in found.coords.items()}
            self.put(name, found.values, found.dims, found.units, pairs)

    def _pending(self, role: str) -> _format.NewFile:
        """Return the file that collects what was extended ("data") or put since the commit."""
        if not self._open:
            raise ValueError(f"{self.path} is finished; nothing can be added")
        if role not in self._files:
            path = self._folder / f"{self._last.number + 1:06d}.{role}.h5.tmp"
            self._files[role] = _format.NewFile(path)
        return self._files[role]

    def _seal(self, state: dict[str, Any] | None) -> Snapshot:
        """Close and name the pending files; return the commit that would list them."""
        old, number = self._last, self._last.number + 1
        data, puts = list(old.data), dict(old.puts)
        for role, new in list(self._files.items()):
            final = self._folder / f"{number:06d}.{role}.h5"
            if role == "put":
                puts.update(dict.fromkeys(_leaves(new.file), final.name))
            else:
                data.append(final.name)
            del self._files[role]
            new.make_durable(final)
        seconds = old.seconds + time.monotonic() - self._began
        layouts = dict(self._layouts)
        return Snapshot(old.header, number, seconds, tuple(data), puts, layouts, state)

    def _commit(self, state: dict[str, Any] | None) -> None:
        """Make all that came so far and `state` count."""
        with _format.writing(self.path, REMEDY):
            new = self._seal(state)
            _snapshot.write(self._folder, new)
        self._last, self._began = new, time.monotonic()
        self._keep = state is not None
        _snapshot.clean(self._folder, new)

    def _release(self) -> None:
        """Forget what was not committed; leave no trace of a run without a checkpoint."""
        self._open = False
        for new in self._files.values():
            with contextlib.suppress(OSError):
                new.close()
        self._files.clear()
        if not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


def _scale(coordinates: np.ndarray, name: str, dim: str) -> dict[str, Any]:
    array, dtype, _ = _format.to_disk(coordinates, f"{name}, scale '{dim}'")
    return {"data": array, "dtype": _format.STRING if dtype == "str" else np.dtype(dtype)}


def _append(group: h5py.Group, key: str, array: np.ndarray, dtype: Any) -> None:
    """Append along the first axis of a dataset, which is created when it is missing."""
    if key not in group:
        limits = (None, *array.shape[1:])
        group.create_dataset(key, data=array, dtype=dtype, maxshape=limits, chunks=True)
        return
    dataset = group[key]
    start = dataset.shape[0]
    dataset.resize(start + array.shape[0], axis=0)
    dataset[start:] = array


def _leaves(file: h5py.File) -> list[str]:
    """Return the names of the variables in a pending file."""
    found: list[str] = []
    file.visititems(
        lambda name, item: (
            found.append(name.rpartition("/")[0])
            if isinstance(item, h5py.Dataset) and name.endswith("/values")
            else None
        )
    )
    return found
