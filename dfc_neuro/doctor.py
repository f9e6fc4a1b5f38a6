"""What this machine has of what dfc_neuro needs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import dfc_neuro
from dfc_neuro.files import library
from dfc_neuro.generated import cache_folder

CORE = ("brian2", "numpy", "numba", "scipy", "h5py", "matplotlib", "tqdm", "pydantic", "click",
        "tomli-w", "threadpoolctl", "scikit-learn")
EXTRAS = {"xarray": "labelled arrays of results: pip install 'dfc-neuro[xarray]'",
          "distributed": "grids of runs: pip install 'dfc-neuro[cluster]'"}


def report(echo: Callable[[str], object] = print) -> int:
    """Print versions, compiler, threads, target, caches and data, and what is missing.

    Parameters
    ----------
    echo : callable
        Takes the lines.

    Returns
    -------
    int
        0 if a run can work, 1 if something that it needs is missing.
    """
    missing: list[str] = []
    echo(f"dfc_neuro      {dfc_neuro.__version__}")
    echo(f"Python         {platform.python_version()}, {platform.system()} {platform.machine()}")
    for package in CORE:
        echo(f"{package:14} {_version(package, missing)}")
    for package, use in EXTRAS.items():
        found = _installed(package)
        echo(f"{package:14} {found or 'not installed (optional; ' + use + ')'}")
    compiler = _compiler()
    echo(f"compiler       {compiler or 'none found'}")
    echo(f"threads        {_threads()}")
    if not missing:
        for line in _brian(missing):
            echo(line)
    echo(f"kernel cache   {cache_folder()}; delete what is in it at any time")
    for kind, folder in library.FOLDERS.items():
        number = len(library.names(kind))
        echo(f"{folder:20} {number} files")
        if not number:
            missing.append(f"the files of {folder}")
    for line in _data():
        echo(line)
    if compiler is None:
        echo("without a C compiler Brian2 runs in NumPy, which is slow for networks; Debian: "
             "apt install g++, macOS: xcode-select --install")
    for what in missing:
        echo(f"MISSING        {what}")
    echo("something is missing" if missing else "all that a run needs is here")
    return 1 if missing else 0


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _version(package: str, missing: list[str]) -> str:
    found = _installed(package)
    module = {"tomli-w": "tomli_w", "scikit-learn": "sklearn"}.get(package, package)
    if not found or find_spec(module) is None:
        missing.append(f"{package}: pip install {package}")
        return "not installed"
    return found


def _compiler() -> str:
    named = os.environ.get("CXX", "").split()[:1]
    for name in (*named, "c++", "g++", "clang++"):
        path = shutil.which(name)
        if path is None:
            continue
        try:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and done.stdout:
            return done.stdout.splitlines()[0]
    return ""


def _threads() -> str:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    set_by = [f"{name}={os.environ[name]}" for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
              if name in os.environ]
    return f"{allowed}" + (f" ({', '.join(set_by)})" if set_by else "")


def _brian(missing: list[str]) -> list[str]:
    """Ask the Brian2 engine for its target and cache; an import that fails is what is missing."""
    try:
        target, cache = import_module("dfc_neuro.brian.device").describe()
    except Exception as error:  # whatever a broken installation raises
        missing.append(f"a brian2 that imports: {error}")
        return []
    return [f"Brian2 target  {target}", f"Brian2 cache   {cache}"]


def _data() -> list[str]:
    """Say which folders of images are where the datasets look for them."""
    from dfc_neuro.datasets._images import SETS

    lines = []
    for name, images in SETS.items():
        folder = Path(images.folder) if images.folder else None
        where = str(folder) if folder is not None and folder.is_dir() else (
            "no folder found; set data.folder, or data.source = openml to download it")
        lines.append(f"{name:14} {where}")
    return lines
