"""How many threads the matrix products use, and the pool that runs blocks of samples."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

from scipy import linalg  # noqa: F401  (Numba's matrix product lives in SciPy's BLAS)
from threadpoolctl import ThreadpoolController

WORTH_THREADS = 5e7  # floating-point operations of a forward pass from which BLAS threads pay


def available() -> int:
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@lru_cache(maxsize=4)
def pool(threads: int) -> ThreadPoolExecutor:
    """Return the pool of so many threads."""
    return ThreadPoolExecutor(threads)


def blas(threads: int):
    """Return a context in which matrix products use so many threads."""
    return _controller().limit(limits=threads, user_api="blas")


def over_blocks(run: Callable[[slice], None], samples: int, threads: int | None) -> None:
    """Call `run` for a block of samples a thread, matrix products inside on one thread each."""
    threads = max(1, min(threads or available(), samples // 8))
    edges = [samples * i // threads for i in range(threads + 1)]
    with blas(1):
        list((pool(threads).map if threads > 1 else map)(
            run, [slice(lo, hi) for lo, hi in pairwise(edges)]))


def blas_threads(sizes: tuple[int, ...], batch: int, threads: int | None) -> int:
    """Return the BLAS threads for whole-batch products of a network: one where it is small."""
    work = 2.0 * batch * sum(a * b for a, b in zip(sizes[1:], sizes, strict=False))
    return (threads or available()) if work > WORTH_THREADS else 1
