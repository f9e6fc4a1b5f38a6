"""Processes that Ctrl-C does not reach: to end them is for the one that starts them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from typing import TypeVar

T = TypeVar("T")


def started_apart(start: Callable[[], T], end: Callable[[T], object] = lambda _: None) -> T:
    """Return what `start` gives, which starts processes; after Ctrl-C meanwhile, `end` that.

    A terminal sends SIGINT to all of them.  They inherit that it is blocked from the thread that
    starts them, while the main one waits and can be interrupted.
    """
    resource_tracker.ensure_running()  # or its start, in that thread, would unblock it
    with ThreadPoolExecutor(1, initializer=signal.pthread_sigmask,
                            initargs=(signal.SIG_BLOCK, {signal.SIGINT})) as thread:
        starting = thread.submit(start)
        try:
            return starting.result()
        except KeyboardInterrupt:
            end(starting.result())
            raise
