"""Python modules written by the package: kept in a cache folder, named by what they are made of.

So Numba's own cache on disk works for them, and a second run compiles nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from dfc_neuro.errors import EngineError


def cache_folder() -> Path:
    """Return the folder of compiled kernels: $DFC_NEURO_CACHE, or dfc_neuro in the user's cache."""
    own = os.environ.get("DFC_NEURO_CACHE")
    base = Path(own) if own else Path(
        os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dfc_neuro"
    return base / "kernels"


@lru_cache(maxsize=64)
def module(text: str, kind: str) -> ModuleType:
    """Write a module unless it is there already, and import it.

    Parameters
    ----------
    text : str
        Its source.
    kind : str
        How its name begins.

    Raises
    ------
    EngineError
        If the cache folder cannot be written.
    """
    name = f"{kind}_{_digest(text)}"
    path = cache_folder() / f"{name}.py"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                    "w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
                file.write(text)
            os.replace(file.name, path)
        except OSError as error:
            raise EngineError(str(path.parent), f"cannot be written ({error.strerror})",
                              "set DFC_NEURO_CACHE to a folder that can") from error
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode())
    digest.update(f"{np.__version__} {sys.version_info[:2]}".encode())
    return digest.hexdigest()[:16]


def filled(template: Path, part: str) -> str:
    """Return a template with `part` between its marks, whatever stands there."""
    text = template.read_text(encoding="utf-8")
    head, _, rest = text.partition("# --- what a ")
    tail = rest.partition("# --- end of what a ")[2].partition("\n")[2]
    return f"{head}{part}\n{tail}"
