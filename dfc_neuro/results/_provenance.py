"""Where a result lies by default, and what it was made with."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import dfc_neuro


def default_path(protocol_source: dict[str, Any], seed: int | None, name: str) -> Path:
    """Return ``results/NAME-HASH.h5``.

    HASH is the first ten hexadecimal digits of the SHA-256 of the resolved description and the
    seed, as JSON with sorted keys: the same description and seed find the same file again.
    """
    text = json.dumps([protocol_source, seed], sort_keys=True, separators=(",", ":"), default=str)
    digits = hashlib.sha256(text.encode()).hexdigest()[:10]
    return Path("results") / f"{Path(name).name.removesuffix('.toml')}-{digits}.h5"


def environment() -> dict[str, str]:
    """Return the versions that numbers depend on and the kind of machine, without its name."""
    found = {"dfc_neuro": dfc_neuro.__version__, "python": platform.python_version()}
    for package in ("numpy", "numba", "scipy", "brian2", "h5py"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["host"] = f"{platform.system()} {platform.machine()}, {_cpu()}"
    return found


def _cpu() -> str:
    """Return the kind of processor as the system names it."""
    try:
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"
