"""Merge the files of an unfinished run into one, block by block, in constant memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dfc_neuro.results._format import NO_COORDINATE, STRING, Layout, new_file, rows
from dfc_neuro.results._snapshot import Snapshot

TEXT = 256  # bytes that a short text takes on its way from file to file


@dataclass
class _Scale:
    """The coordinates along one dim of a group: None when nobody gave any."""

    length: int
    grows: bool
    values: np.ndarray | None
    units: str
    users: list[tuple[str, int]] = field(default_factory=list)


def merge(folder: Path, last: Snapshot, target: Path, attributes: Mapping[str, Any]) -> None:
    """Write the file `target` from the files of the commit `last` in `folder`."""
    with new_file(folder / "merged.h5.tmp", target) as new:
        out = new.file
        out.attrs.update(attributes)
        for name in sorted(last.layouts):
            _create(out, name, last.layouts[name])
        filled: dict[str, int] = {}
        coordinates: dict[tuple[str, str], list[np.ndarray]] = {}
        sources: list[tuple[str, set[str] | None]] = [(file, None) for file in last.data]
        sources += [(file, _put_there(last, file)) for file in sorted({*last.puts.values()})]
        for file, only in sources:
            with h5py.File(folder / file, "r") as source:
                for name in sorted(last.layouts):
                    if name in source and (only is None or name in only):
                        group = source[name]
                        start = filled.get(name)
                        filled[name] = _copy(group["values"], out[name], start or 0)
                        new.check()
                        _collect(coordinates, group, name, last.layouts[name], start is None)
        groups = sorted({name.rpartition("/")[0] for name in last.layouts})
        for group in groups:
            inside = {n: v for n, v in last.layouts.items() if n.rpartition("/")[0] == group}
            _write_scales(out, group, _plan_scales(inside, coordinates))


def _put_there(last: Snapshot, file: str) -> set[str]:
    return {name for name, where in last.puts.items() if where == file}


def _create(out: h5py.File, name: str, layout: Layout) -> None:
    """Create an empty dataset of the full size, compressed when it is an array."""
    options: dict[str, Any] = {}
    if layout.shape:
        options = {"chunks": True, "compression": "gzip", "shuffle": True}
        if layout.grows:
            options["maxshape"] = (None, *layout.shape[1:])
        elif 0 in layout.shape:
            options = {}
    dataset = out.create_dataset(name, layout.shape, layout.h5_dtype(), **options)
    if layout.units:
        dataset.attrs["units"] = layout.units
    if layout.boolean:
        dataset.attrs["dtype"] = "bool"
    if layout.dims:
        dataset.attrs.create("dims", list(layout.dims), dtype=STRING)


def _copy(source: h5py.Dataset, out: h5py.Dataset, start: int) -> int:
    """Copy a dataset to rows `start` and on; return where the next begins."""
    if not source.shape:
        out[()] = source[()]
        return 1
    text = h5py.check_string_dtype(source.dtype)  # a text in memory is an object of its own
    for part in rows(source.shape, TEXT if text else source.dtype.itemsize):
        out[start + part.start : start + part.stop] = source[part]
    return start + source.shape[0]


def _collect(
    coordinates: dict[tuple[str, str], list[np.ndarray]],
    group: h5py.Group,
    name: str,
    layout: Layout,
    first: bool,
) -> None:
    """Keep the coordinates of a variable: those that grow from each file, others once."""
    for dim in layout.scale_units:
        if first or (layout.grows and dim == layout.dims[0]):
            dataset = group[f"scales/{dim}"]
            text = h5py.check_string_dtype(dataset.dtype)
            values = dataset.asstr()[()] if text else dataset[()]
            coordinates.setdefault((name, dim), []).append(values)


def _plan_scales(
    layouts: Mapping[str, Layout], coordinates: Mapping[tuple[str, str], list[np.ndarray]]
) -> dict[str, _Scale]:
    """Decide which variables of a group share a dim.

    The first variable in the order of names that gives coordinates owns the dim's name; one
    that differs from it in length or coordinates gets a dim of its own, ``VARIABLE_DIM``.
    """
    taken = {name.rpartition("/")[2] for name in layouts}
    plan: dict[str, _Scale] = {}
    wanted = [(n, axis) for n in sorted(layouts) for axis in range(len(layouts[n].dims))]
    wanted.sort(key=lambda item: layouts[item[0]].dims[item[1]] not in layouts[item[0]].scale_units)
    for name, axis in wanted:
        layout = layouts[name]
        dim = layout.dims[axis]
        parts = coordinates.get((name, dim))
        values = np.concatenate(parts) if parts else None
        scale = _Scale(
            layout.shape[axis],
            layout.grows and axis == 0,
            values,
            layout.scale_units.get(dim, ""),
        )
        key = dim
        if key in taken or (key in plan and not _agree(plan[key], scale)):
            key = f"{name.rpartition('/')[2]}_{dim}"
            while key in taken or key in plan:
                key += "_"
        plan.setdefault(key, scale)
        plan[key].grows |= scale.grows
        plan[key].users.append((name, axis))
    return plan


def _agree(one: _Scale, other: _Scale) -> bool:
    """Return whether two variables can share a dim."""
    if one.length != other.length:
        return False
    if one.values is None or other.values is None:
        return other.values is None
    if one.units != other.units or one.values.dtype != other.values.dtype:
        return False
    if one.values.dtype.kind == "O":
        return list(one.values) == list(other.values)
    return one.values.tobytes() == other.values.tobytes()


def _write_scales(out: h5py.File, group: str, plan: Mapping[str, _Scale]) -> None:
    """Write the dimension scales of a group and attach its variables to them."""
    for key, scale in plan.items():
        options: dict[str, Any] = {}
        if scale.grows:
            options = {"maxshape": (None,), "chunks": True}
        if scale.values is None:
            dataset = out.create_dataset(f"{group}/{key}", (scale.length,), "i1", **options)
            dataset.make_scale(f"{NO_COORDINATE} {scale.length:10d}")
        else:
            text = scale.values.dtype.kind == "O"
            dtype = STRING if text else scale.values.dtype
            dataset = out.create_dataset(
                f"{group}/{key}", data=scale.values, dtype=dtype, **options
            )
            dataset.make_scale(key)
            if scale.units:
                dataset.attrs["units"] = scale.units
        for name, axis in scale.users:
            out[name].dims[axis].attach_scale(dataset)
