"""Where models and protocols are: shipped ones by name, users' own by path."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from dfc_neuro.errors import ModelError, ProtocolError, near

MODEL_KINDS = ("cell", "synapse", "controller", "rule", "circuit")
FOLDERS = {
    "cell": "models/cells", "synapse": "models/synapses", "controller": "models/controllers",
    "rule": "models/rules", "circuit": "models/circuits", "protocol": "protocols",
}


@cache
def _folder(kind: str) -> Path:
    package = "dfc_neuro." + FOLDERS[kind].replace("/", ".")
    with as_file(files(package)) as path:  # setuptools installs unzipped: the path stays
        return Path(path)


@cache
def _shipped(kind: str) -> dict[str, Path]:
    return {path.stem: path for path in sorted(_folder(kind).glob("*.toml"))}


def names(kind: str) -> list[str]:
    """Return the names of the shipped files of a kind (``cell``, ..., ``protocol``)."""
    return list(_shipped(kind))


def folder(kind: str) -> Path:
    """Return the folder of the shipped files of a kind."""
    return _folder(kind)


def label(path: Path) -> str:
    """Return how messages call a file: ``models/cells/x.toml`` if it is shipped."""
    for kind, where in FOLDERS.items():
        if path.parent == _folder(kind):
            return f"{where}/{path.name}"
    return str(path)


def is_path(name: str) -> bool:
    """Return whether a reference is a path and not a name."""
    return "/" in name or "\\" in name or name.endswith(".toml")


def find(name: str | Path, kinds: tuple[str, ...] = tuple(FOLDERS), where: str = "",
         beside: Path | None = None) -> Path:
    """Return the file of a model or protocol.

    Parameters
    ----------
    name : str or Path
        A shipped name, or the path of a user's own file.
    kinds : tuple of str
        Which kinds the name may be.
    where : str
        File and key that hold the name, for the message.
    beside : Path, optional
        Folder of the file that names it: paths are tried relative to it first, and a name is
        first looked for there when the folder is the user's own.

    Raises
    ------
    ModelError, ProtocolError
        If there is none, with the near match.
    """
    error = ProtocolError if kinds == ("protocol",) else ModelError
    text = str(name)
    if isinstance(name, Path) or is_path(text):
        for base in ([beside] if beside else []) + [Path()]:
            if (base / text).is_file():
                return base / text
        what = "is a folder" if Path(text).is_dir() else "there is no such file"
        raise error(where or text, f"'{text}': {what}" if where else what,
                    "give the path of a TOML file or one of the names of 'dfc-neuro list'")
    if beside is not None and beside not in map(_folder, FOLDERS):
        own = beside / f"{text}.toml"
        if own.is_file():
            return own
    known: dict[str, Path] = {}
    for kind in kinds:
        known = _shipped(kind) | known
    if text not in known:
        what = " or ".join(kinds) if len(kinds) < 3 else "model or protocol"
        raise error(where or text, f"unknown {what} '{text}'" if where else f"unknown {what}",
                    near(text, known))
    return known[text]
