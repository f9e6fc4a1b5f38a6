"""Draw figures from result files; run first what is missing.

A figure is a script with a docstring, ``REQUIRES = {role: {"protocol": NAME, "keys": {...},
"seed": 0}}`` and ``make(results) -> Figure``, where ``results`` maps each role to a Result.  With
``COLLECTS = PROTOCOL`` it is given all finished runs of a protocol too, as ``results["runs"]``, and
nothing is run for it.  A script that has ``table(results) -> Table`` makes a table as well.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

from dfc_neuro.errors import DfcNeuroError, InputError, ResultsError, near
from dfc_neuro.files.keys import look_up, same
from dfc_neuro.results import Result, scan
from dfc_neuro.table import FORMATS as TABLE_FORMATS

log = logging.getLogger(__name__)
FORMATS = ("pdf", "svg", "png")
OF_A_NEED = {"protocol", "keys", "seed", "optional"}  # keys of an entry of REQUIRES
# no dates: the same result gives the same file
METADATA: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def names() -> list[str]:
    """Return the figures that come with the library."""
    folder = resources.files("dfc_neuro.figures")
    scripts = (f.name for f in folder.iterdir() if f.name.endswith(".py"))
    return sorted(n.removesuffix(".py") for n in scripts if not n.startswith("_"))


def draw(
    names: Iterable[str | Path],
    sources: Sequence[str | Path] = (),
    directory: str | Path | None = None,
    formats: Sequence[str] = FORMATS,
    quick: bool = False,
) -> list[Path]:
    """Draw figures and write them to files.

    Parameters
    ----------
    names : iterable of str or Path
        Names of figures, or paths of users' own scripts.
    sources : sequence of path
        Result files to draw from.  A figure takes those of the protocols that it names, or the
        only one if it needs only one.
    directory : path, optional
        Where to write; ``results/figures`` if not given.
    formats : sequence of str
        Of "pdf", "svg" and "png".
    quick : bool
        Run what is missing in its small size.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If a name, script, result or folder cannot be used.
    """
    for kind in formats:
        if kind not in FORMATS:
            raise InputError("--format", f"found '{kind}'", "allowed are " + ", ".join(FORMATS))
    scripts = [_script(name) for name in names]
    given = [Result(source) for source in sources]
    folder = _writable(Path(directory) if directory is not None else Path("results/figures"))
    written = []
    for script in scripts:
        results: dict[str, Any] = {}
        for role, needed in script.REQUIRES.items():
            found = _from_sources(script, needed, given)
            if found or not (given and needed.get("optional")):
                results[role] = found or _found_or_run(needed, quick)
        if hasattr(script, "COLLECTS"):
            results["runs"] = _collected(script.COLLECTS, given)
        written += _save(script, results, folder, formats)
        if hasattr(script, "table"):
            written += _save_table(script, results, folder)
    return written


def draw_one(name: str | Path, results: dict[str, Any], folder: Path, stem: str) -> Path:
    """Draw a figure of given results, by role, to ``STEM.svg`` in a folder; return the file."""
    return _save(_script(name), results, folder, ("svg",), stem)[0]


def _script(name: str | Path) -> ModuleType:
    """Return a figure's script, imported."""
    text = str(name)
    if text.endswith(".py") or os.sep in text:
        path = Path(text)
        if not path.is_file():
            raise InputError(text, "no such file", "give a figure's name or the path of a script")
    else:
        if text not in names():
            raise InputError("figure", f"unknown figure '{text}'", near(text, names()))
        path = Path(str(resources.files("dfc_neuro.figures") / f"{text}.py"))
    spec = importlib.util.spec_from_file_location(f"_figure_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _call(path, lambda: spec.loader.exec_module(module))
    needed = getattr(module, "REQUIRES", None)
    if not isinstance(needed, dict) or not all(
        isinstance(n, Mapping) and {"protocol"} <= set(n) <= OF_A_NEED
        for n in needed.values()
    ):
        raise InputError(
            str(path), "has no REQUIRES", 'write REQUIRES = {"run": {"protocol": "NAME"}}'
        )
    if not callable(getattr(module, "make", None)):
        raise InputError(str(path), "has no make(results)", "let it return a matplotlib Figure")
    return module


def _from_sources(script: ModuleType, needed: Mapping[str, Any], given: list[Result]) -> Any:
    """Return the given result that a figure needs, None when results are to be found or run.

    None also where a need is optional and no given result meets it.
    """
    if not given:
        return None
    fitting = [r for r in given if r.attrs.get("name") == Path(needed["protocol"]).stem]
    if len(fitting) > 1 or needed.get("optional"):
        # one that has the keys of another need, which asks for more, is for that
        more = [n for n in script.REQUIRES.values() if n["protocol"] == needed["protocol"]
                and len(n.get("keys", {})) > len(needed.get("keys", {}))]
        fitting = [r for r in fitting if _has(r, needed) and not any(_has(r, n) for n in more)]
    if len(fitting) == 1 or (needed.get("optional") and not fitting):
        return fitting[0] if fitting else None
    if len(given) == 1 and len(script.REQUIRES) == 1:
        return given[0]
    found = ", ".join(f"{r.path} of '{r.attrs.get('name')}'" for r in given)
    raise ResultsError(
        "--from",
        f"figure '{_title(script)}' needs one result of '{needed['protocol']}', found {found}",
        "give the right files, or none to run what is missing",
    )


def _has(result: Result, needed: Mapping[str, Any]) -> bool:
    """Return whether a result is of the keys and seed that a figure needs."""
    held = result.protocol
    return result.attrs.get("seed", 0) == needed.get("seed", 0) and all(
        same(look_up(held, key) or look_up(held.get("variables", {}), key), value)
        for key, value in needed.get("keys", {}).items())


def _collected(protocol: str, given: list[Result]) -> list[Result]:
    """Return all finished runs of a protocol, of those given or in the folder of results."""
    found = [r for r in given if r.attrs.get("name") == protocol] if given else list(
        scan(Path("results"), protocol))
    if not found:
        raise ResultsError("--from" if given else "results", f"holds no finished run of "
                           f"'{protocol}'", f"dfc-neuro sweep {protocol} makes them")
    return found


def _save_table(script: ModuleType, results: dict[str, Any], folder: Path) -> list[Path]:
    """Show a figure's table, and write it in each format."""
    table = _call(Path(str(script.__file__)), lambda: script.table(results))
    for line in table.lines():
        log.info("%s", line)
    written = []
    for kind in TABLE_FORMATS:
        path = folder / f"{_title(script)}.{kind}"
        try:
            path.write_text(table.written_as(kind), encoding="utf-8")
        except OSError as error:
            raise ResultsError(str(path), f"cannot be written ({error.strerror})",
                               "choose another folder (-o)") from error
        written.append(path)
    return written


def _found_or_run(needed: Mapping[str, Any], quick: bool) -> Result:
    """Return the result at its default place, after running the protocol if there is none."""
    from dfc_neuro.run import result_path, run

    asked = {"seed": needed.get("seed", 0), "keys": dict(needed.get("keys", {})), "quick": quick}
    path = result_path(needed["protocol"], **asked)
    if path.exists():
        return Result(path)
    return run(needed["protocol"], **asked, resume=True)


def _save(
    script: ModuleType, results: dict[str, Result], folder: Path, formats: Sequence[str],
    stem: str | None = None,
) -> list[Path]:
    """Draw one figure and write it in each format, under its own name or another."""
    import matplotlib
    from matplotlib import style

    written = []
    with style.context(str(resources.files("dfc_neuro.figures") / "style.mplstyle")):
        figure = _call(Path(str(script.__file__)), lambda: script.make(results))
        if not isinstance(figure, matplotlib.figure.Figure):
            raise InputError(str(script.__file__), "make(results) returned no Figure")
        for kind in formats:
            path = folder / f"{stem or _title(script)}.{kind}"
            temporary = folder / f".{path.stem}.{os.getpid()}.{kind}"
            try:
                figure.savefig(temporary, format=kind, metadata=METADATA.get(kind))
                os.replace(temporary, path)
            except OSError as error:
                temporary.unlink(missing_ok=True)
                raise ResultsError(
                    str(path), f"cannot be written ({error.strerror})", "choose another folder (-o)"
                ) from error
            written.append(path)
    return written


def _call(path: Path, function: Any) -> Any:
    """Call what a script does; a mistake in it becomes a message with file and line."""
    try:
        return function()
    except DfcNeuroError:
        raise
    except Exception as error:
        lines = [
            f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)
        ]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else "?")
        raise InputError(f"{path}, line {line}", f"{type(error).__name__}: {error}") from error


def _title(script: ModuleType) -> str:
    return Path(str(script.__file__)).stem


def _writable(folder: Path) -> Path:
    """Make sure of a folder to write to, before anything runs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ResultsError(
            str(folder), f"cannot be written to ({error.strerror})", "choose another folder with -o"
        ) from error
    return folder
