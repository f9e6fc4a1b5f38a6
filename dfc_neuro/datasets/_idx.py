"""Read and write IDX files, the format of MNIST, gzipped or not."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from dfc_neuro.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
REMEDY = "copy or download it again"


def read_idx(path: Path) -> np.ndarray:
    """Return the array of an IDX file.

    Raises
    ------
    DataError
        If the file cannot be read, is no IDX file, or does not have the size that it states.
    """
    where = str(path)
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(where, f"is damaged or cut off ({error})", REMEDY) from error
    except OSError as error:
        raise DataError(where, f"cannot be read ({error.strerror})", REMEDY) from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise DataError(
            where, f"is not an IDX file (it begins with bytes {content[:4].hex(' ')})", REMEDY
        )
    dtype, ndim = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * ndim
    if len(content) < start:
        raise DataError(where, "is cut off within its sizes", REMEDY)
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", ndim, 4))
    size = 1
    for n in shape:
        size *= n
    wanted = start + size * dtype.itemsize
    if len(content) != wanted:
        raise DataError(
            where, f"states the shape {shape}, so {wanted} bytes, and has {len(content)}", REMEDY
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


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
