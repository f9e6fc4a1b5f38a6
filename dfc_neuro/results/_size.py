"""How large a result will be, said before the run and refused when it cannot fit."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from dfc_neuro.errors import ResultsError

log = logging.getLogger("dfc_neuro.results")
REMEDY = "record fewer units, less often (every) or reduced (reduce)"


def announce(path: str | Path, on_disk: float, where: str, in_memory: float = 0.0) -> None:
    """Say how much a run records; refuse what neither disk nor memory could hold.

    Parameters
    ----------
    path : path
        The result file to be.
    on_disk : float
        Bytes that are recorded, before compression.  Twice as much is needed for a moment: at the
        end of a run its parts are merged.
    where : str
        The protocol, for messages.
    in_memory : float
        Bytes that are held until the end of the run.

    Raises
    ------
    ResultsError
        If there is less space than that.
    """
    folder = Path(path).absolute().parent
    while not folder.exists():
        folder = folder.parent
    free, memory = shutil.disk_usage(folder).free, available_memory()
    if 2 * on_disk > free:
        raise ResultsError(
            f"{where}: record", f"asks for {size(on_disk)}, twice that while the file is "
            f"finished, and {size(free)} are free at {folder}", f"{REMEDY}, or choose another disk "
            "with -o")
    if in_memory > memory:
        raise ResultsError(f"{where}: record", f"asks for {size(in_memory)} of memory, and "
                           f"{size(memory)} are available", REMEDY)
    log.info("records %s", size(on_disk))


def available_memory() -> float:
    """Return the bytes of memory that are available, or all that there are."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024.0 * float(lines["MemAvailable"].split()[0])
    except (OSError, KeyError):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def size(count: float) -> str:
    """Return a number of bytes as text."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
