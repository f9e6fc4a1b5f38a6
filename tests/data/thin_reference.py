"""Write dfc_reference_thin.h5: the golden file with some trajectories thinned in time.

Usage: python thin_reference.py FULL.h5 THIN.h5

Numbers are copied, none is computed. Cases of `WHOLE` keep every state of the trajectory; of the
others every twentieth and the last one stay, and the attribute `time_index` of their group
`dynamics` says which. Everything outside the trajectories is copied whole.
"""

import sys

import h5py
import numpy as np

WHOLE = ("regression_integral_delay",)
EVERY = 20


def thin(source: h5py.File, target: h5py.File) -> None:
    """Copy all cases, in the order of the source."""
    target.attrs.update(source.attrs)
    target.attrs["thinned"] = f"every {EVERY}th state and the last one of: " + ", ".join(
        name for name in source if name not in WHOLE)
    for name, case in source.items():
        copy = target.create_group(name)
        copy.attrs.update(case.attrs)
        steps = int(case.attrs["tmax_di"])
        kept = np.union1d(np.arange(0, steps, EVERY), steps - 1)

        def visit(path, item, copy=copy, name=name, kept=kept):
            if isinstance(item, h5py.Group):
                copy.create_group(path).attrs.update(item.attrs)
                return
            values = item[()]
            series = path.startswith("dynamics/") and "update_" not in path
            if series and name not in WHOLE:
                values = values[kept]
            options = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
            copy.create_dataset(path, data=values, **(options if values.size > 512 else {}))

        case.visititems(visit)
        if name not in WHOLE:
            copy["dynamics"].attrs["time_index"] = kept


if __name__ == "__main__":
    with h5py.File(sys.argv[1]) as full, h5py.File(sys.argv[2], "w", libver="latest") as small:
        thin(full, small)
