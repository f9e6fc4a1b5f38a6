"""One writer a file: an advisory lock that the system releases when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from dfc_neuro.errors import BusyError


class Lock:
    """Hold `path` locked; `target` is the file that the error message names.

    Raises
    ------
    BusyError
        If another process holds the lock.
    """

    def __init__(self, path: Path, target: Path):
        self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists() or os.fstat(self._handle).st_ino != path.stat().st_ino:
                raise BlockingIOError
        except BlockingIOError:
            self.close()
            raise BusyError(
                str(target),
                "is being written by another process",
                "wait for it, or choose another file with -o",
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise

    def close(self) -> None:
        """Let others write."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
