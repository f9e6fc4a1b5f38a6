"""How many threads work, and on what: blocks of samples, or rows of a product.

Threads are ours and matrix products inside them use one each.  A BLAS that has threads of its own
keeps them spinning for a while after every product, where they take the processors from us (and
from anybody else on the machine).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import numpy as np
from scipy import linalg  # noqa: F401  (Numba's matrix product lives in SciPy's BLAS)
from threadpoolctl import ThreadpoolController

Array = np.ndarray
T = TypeVar("T")
R = TypeVar("R")
WORTH_THREADS = 1e7  # floating-point operations from which handing over to threads pays
_own = threading.local()
_most: list[int] = []


def available() -> int:
    """Return the number of threads to use: the processors of this process, or what `use` says."""
    if _most:
        return _most[-1]
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def use(threads: int | None) -> Iterator[None]:
    """Use so many threads inside (None: all), and keep those of BLAS out of the way."""
    _most.append(threads or available())
    try:
        with blas(1):
            yield
    finally:
        _most.pop()


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


def over(work: Callable[[T], R], items: Sequence[T], threads: int | None = None) -> list[R]:
    """Return `work` of every item, in order: items over threads, one BLAS thread in each.

    Where there is a thread for every item the calling one has the first: to wake another takes as
    long as a small product.
    """
    most = 1 if getattr(_own, "busy", False) else min(threads or available(), len(items))

    def busy(item: T) -> R:
        _own.busy = True
        try:
            return work(item)
        finally:
            _own.busy = False

    with nullcontext() if _most else blas(1):  # inside `use` it is so already
        if most < max(len(items), 2):
            return list(pool(most).map(busy, items) if most > 1 else map(work, items))
        others = [pool(most).submit(busy, item) for item in items[1:]]
        try:
            return [busy(items[0]), *(other.result() for other in others)]
        except BaseException:
            wait(others)
            raise


def blocks(length: int, threads: int | None = None) -> list[slice]:
    """Return a block of 0..length-1 for each thread, of at least 8; one where a thread asks."""
    most = 1 if getattr(_own, "busy", False) else threads or available()
    most = max(1, min(most, length // 8))
    edges = [length * i // most for i in range(most + 1)]
    return [slice(lo, hi) for lo, hi in pairwise(edges)]


def over_blocks(run: Callable[[slice], object], length: int, threads: int | None = None,
                work: float = np.inf) -> None:
    """Call `run` for a block of 0..length-1 a thread.

    Parameters
    ----------
    run : callable
        Takes a slice.
    length : int
        How many samples or rows there are.
    threads : int, optional
        How many threads; what is available if not given.
    work : float
        Floating-point operations; where they are few, the calling thread does it all.
    """
    parts = blocks(length, 1 if work < WORTH_THREADS else threads)
    if len(parts) == 1:
        run(parts[0])
    else:
        over(run, parts, len(parts))


def outer_sums(pairs: Sequence[tuple[Array, Array]]) -> list[Array]:
    """Return left^T right, (n, m), for pairs of (B, n) and (B, m), rows of it on threads."""
    outs = [np.empty((left.shape[1], right.shape[1]), left.dtype) for left, right in pairs]
    rows = [left.shape[1] for left, _ in pairs]
    work = sum(2.0 * left.size * right.shape[1] for left, right in pairs)

    def run(part: slice) -> None:
        # a share of the rows of every product; `part` counts in 1/1024
        for (left, right), out, n in zip(pairs, outs, rows, strict=True):
            lo, hi = n * part.start // 1024, n * part.stop // 1024
            if hi > lo:
                np.matmul(left[:, lo:hi].T, right, out=out[lo:hi])

    over_blocks(run, 1024, work=work)
    return outs
