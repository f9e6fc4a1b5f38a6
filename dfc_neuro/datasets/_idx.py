"""Read and write IDX files, the format of MNIST, gzipped or not."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from dfc_neuro.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
REMEDY = "copy or download it again"
PIECE = 2**20  # bytes that are read at a time
LARGEST = 2**33  # bytes; a file that states more states its shape wrongly


def read_idx(path: Path) -> np.ndarray:
    """Return the array of an IDX file, read piece by piece: nothing of it is in memory twice.

    Raises
    ------
    DataError
        If the file cannot be read, is no IDX file, or does not have the size that it states.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            return _read(file, where)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(where, f"is damaged or cut off ({error})", REMEDY) from error
    except OSError as error:
        raise DataError(where, f"cannot be read ({error.strerror})", REMEDY) from error


def _read(file: BufferedIOBase, where: str) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES:
        raise DataError(
            where, f"is not an IDX file (it begins with bytes {head.hex(' ')})", REMEDY
        )
    dtype, ndim = np.dtype(TYPES[head[2]]), head[3]
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(where, "is cut off within its sizes", REMEDY)
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    start, size = 4 + 4 * ndim, math.prod(shape) * dtype.itemsize
    content = np.empty(size if size <= LARGEST else 0, np.uint8)
    found = 0
    while found < len(content):
        read = file.readinto(content[found : found + PIECE].data)
        if not read:
            break
        found += read
    while piece := file.read(PIECE):
        found += len(piece)
    if found != size or size > LARGEST:
        raise DataError(
            where,
            f"states the shape {shape}, so {start + size} bytes, and has {start + found}",
            REMEDY,
        )
    return content.view(dtype).reshape(shape)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array as an IDX file, gzipped if the name ends in .gz, whole or not at all."""
    codes = {np.dtype(name).newbyteorder(">"): code for code, name in TYPES.items()}
    code = codes[array.dtype.newbyteorder(">")]
    sizes = np.array(array.shape, ">u4").tobytes()
    values = array.astype(TYPES[code]).tobytes()
    content = bytes([0, 0, code, array.ndim]) + sizes + values
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(gzip.compress(content, 5) if path.suffix == ".gz" else content)
    os.replace(temporary, path)
