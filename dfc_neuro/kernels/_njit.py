"""Numba's njit with a cache on disk that knows every file of the kernels.

Numba compiles a function anew if its own file has changed, not if one has that it calls; an upgrade
would go on with old numbers.  So the compiled kernels lie in a folder named by the text of them
all, within the package's cache folder (DFC_NEURO_CACHE).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from dfc_neuro.generated import cache_folder

config: Any = numba.config


def _texts() -> str:
    """Return a hash of every source file that kernels may call or take constants from."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted([*package.glob("kernels/*.py"), *package.glob("rates/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


TEXTS = _texts()


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return Numba's decorator of these options; `cache` by the text of all kernels."""

    def compiled(function: Callable[..., Any]) -> Any:
        held = config.CACHE_DIR
        config.CACHE_DIR = str(cache_folder() / TEXTS)
        try:
            return numba.njit(**options)(function)
        finally:
            config.CACHE_DIR = held

    return compiled
