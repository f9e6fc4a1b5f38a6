"""What a result file holds, by name and label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfc_neuro.errors import ResultsError, near


class UnknownNameError(ResultsError, KeyError):
    """A name that a result file does not have."""

    __str__ = Exception.__str__


@dataclass(frozen=True, eq=False)
class LabelledArray:
    """Numbers with named dims, coordinates and a unit.

    Attributes
    ----------
    values : ndarray
        The numbers (or text).
    dims : tuple of str
        Name of each axis.
    coords : dict
        {dim: coordinates along it}; a dim without coordinates is absent.
    units : str
        Unit of the values, "1" for none, "" when it does not apply.
    name : str
        Where they stand, for messages.
    coord_units : dict
        {dim: unit of its coordinates}.
    """

    values: np.ndarray
    dims: tuple[str, ...] = ()
    coords: dict[str, np.ndarray] = field(default_factory=dict)
    units: str = ""
    name: str = ""
    coord_units: dict[str, str] = field(default_factory=dict)

    def sel(self, **labels: Any) -> LabelledArray:
        """Select by label along dims.

        A single label drops its dim, a list keeps it, and ``slice(a, b)`` keeps the numbers from
        a to b, both included.  A dim without coordinates is labelled by position.

        Raises
        ------
        ResultsError
            For an unknown dim or label.
        """
        positions = {}
        for dim, label in labels.items():
            coordinates = self.coords.get(dim, np.arange(self._length(dim)))
            positions[dim] = _find(coordinates, label, f"{self.name}, {dim}")
        return self.isel(**positions)

    def isel(self, **positions: Any) -> LabelledArray:
        """Select by position along dims; a single position drops its dim, -1 is the last."""
        index: list[Any] = [slice(None)] * len(self.dims)
        for dim, position in positions.items():
            length = self._length(dim)
            if isinstance(position, (int, np.integer)) and not -length <= position < length:
                raise ResultsError(
                    self.name, f"position {position} along '{dim}'", f"there are {length}"
                )
            index[self.dims.index(dim)] = position
        values = self.values
        for axis in reversed(range(len(index))):
            values = values[(slice(None),) * axis + (index[axis],)]
        coords = {d: c[index[self.dims.index(d)]] for d, c in self.coords.items()}
        dims = tuple(d for d, i in zip(self.dims, index, strict=True) if np.ndim(i) or _range(i))
        return LabelledArray(
            np.asarray(values),
            dims,
            {d: c for d, c in coords.items() if d in dims},
            self.units,
            self.name,
            self.coord_units,
        )

    def to_xarray(self) -> Any:
        """Return an xarray.DataArray.

        Raises
        ------
        ResultsError
            If xarray is not installed; the message names the extra.
        """
        xarray = _xarray(self.name)
        coords = {
            d: (d, c, {"units": self.coord_units[d]} if self.coord_units.get(d) else {})
            for d, c in self.coords.items()
        }
        return xarray.DataArray(
            self.values,
            dims=self.dims,
            coords=coords,
            name=self.name.rpartition("/")[2] or None,
            attrs={"units": self.units} if self.units else {},
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.values.shape

    def _length(self, dim: str) -> int:
        if dim not in self.dims:
            raise UnknownNameError(self.name, f"has no dim '{dim}'", near(dim, self.dims))
        return self.values.shape[self.dims.index(dim)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{d}: {n}" for d, n in zip(self.dims, self.shape, strict=True))
        unit = f" in {self.units}" if self.units not in ("", "1") else ""
        return f"<LabelledArray {self.name}{unit} ({sizes})>"


class Group(Mapping):
    """Variables of a result file, read when asked for: name -> LabelledArray (or Group).

    Parameters
    ----------
    name : str
        Path of the group, for messages.
    readers : dict
        {name: function that reads it}.
    dims : frozenset of str
        All dims of its variables.
    labels, positions : dict
        Selections that hold for every variable that has the dim.
    """

    def __init__(
        self,
        name: str,
        readers: Mapping[str, Callable[[], Any]],
        dims: frozenset[str] = frozenset(),
        labels: Mapping[str, Any] | None = None,
        positions: Mapping[str, Any] | None = None,
    ):
        self.name = name
        self._readers, self._dims = dict(readers), dims
        self._labels, self._positions = dict(labels or {}), dict(positions or {})

    def __getitem__(self, name: str) -> Any:
        if name not in self._readers:
            raise UnknownNameError(self.name, f"has no '{name}'", near(name, self._readers))
        found = self._readers[name]()
        if isinstance(found, Group):
            return found._with(self._labels, self._positions)
        found = found.sel(**{d: v for d, v in self._labels.items() if d in found.dims})
        return found.isel(**{d: v for d, v in self._positions.items() if d in found.dims})

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def sel(self, **labels: Any) -> Group:
        """Select by label in every variable that has the dim; see `LabelledArray.sel`."""
        self._check(labels)
        return self._with(self._labels | labels, self._positions)

    def isel(self, **positions: Any) -> Group:
        """Select by position in every variable that has the dim."""
        self._check(positions)
        return self._with(self._labels, self._positions | positions)

    def to_xarray(self) -> Any:
        """Return an xarray.Dataset; dims that differ between variables get names of their own."""
        xarray = _xarray(self.name)
        arrays = {n: v for n, v in self.items() if isinstance(v, LabelledArray)}
        found: dict[str, LabelledArray] = {}
        variables = {}
        for name, value in arrays.items():
            rename = {}
            for dim in value.dims:
                owner = found.setdefault(dim, value)
                if dim in arrays or not _same_axis(owner, value, dim):
                    rename[dim] = f"{name}_{dim}"
            variables[name] = value.to_xarray().rename(rename)
        return xarray.Dataset(variables)

    def _with(self, labels: Mapping[str, Any], positions: Mapping[str, Any]) -> Group:
        return Group(self.name, self._readers, self._dims, labels, positions)

    def _check(self, wanted: Mapping[str, Any]) -> None:
        """Raise when no variable has a dim."""
        for dim in wanted:
            if self._dims and dim not in self._dims:
                raise UnknownNameError(self.name, f"has no dim '{dim}'", near(dim, self._dims))

    def __repr__(self) -> str:
        return f"<{self.name}: {', '.join(self)}>"


def _find(coordinates: np.ndarray, label: Any, where: str) -> Any:
    """Return the position of a label, of each of a list, or of those in a slice."""
    if isinstance(label, slice):
        low = -np.inf if label.start is None else label.start
        high = np.inf if label.stop is None else label.stop
        return np.flatnonzero((coordinates >= low) & (coordinates <= high))
    if np.ndim(label):
        return np.array([_find(coordinates, one, where) for one in label], dtype=int)
    if coordinates.dtype.kind == "f":
        hits = np.flatnonzero(np.isclose(coordinates, label, rtol=1e-9, atol=0.0))
    else:
        hits = np.flatnonzero(coordinates == label)
    if not len(hits):
        shown = [str(c) for c in coordinates[:12]]
        raise UnknownNameError(where, f"has no '{label}'", near(str(label), shown))
    return int(hits[0])


def _range(index: Any) -> bool:
    return isinstance(index, slice)


def _same_axis(one: LabelledArray, other: LabelledArray, dim: str) -> bool:
    if one._length(dim) != other._length(dim):
        return False
    a, b = one.coords.get(dim), other.coords.get(dim)
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))


def _xarray(where: str) -> Any:
    try:
        import xarray
    except ImportError:
        raise ResultsError(
            where, "xarray is not installed", "pip install 'dfc-neuro[xarray]'"
        ) from None
    return xarray
