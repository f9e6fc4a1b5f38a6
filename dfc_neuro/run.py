"""Run a protocol and write its result file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from dfc_neuro.errors import EngineError
from dfc_neuro.files import resolve
from dfc_neuro.files.protocols import LearningProtocol, Protocol
from dfc_neuro.measures import check_measures, measures
from dfc_neuro.results import Result, Writer, default_path, partial_folder

log = logging.getLogger(__name__)
TOLD = ("summary", "references", "departures")  # of a file; they change no number


def run(
    protocol: str | Path,
    *,
    out: str | Path | None = None,
    seed: int | None = None,
    keys: dict[str, Any] | None = None,
    quick: bool = False,
    resume: bool = False,
    force: bool = False,
    progress: bool | Callable[[int, int], object] = True,
    **more: Any,
) -> Result:
    """Run a protocol by name or path.

    Parameters
    ----------
    protocol : str or Path
        Name of a shipped protocol, or the path of one.
    out : path, optional
        The result file; ``results/NAME-HASH.h5`` if not given.
    seed : int, optional
        Seed of the run; 0 if not given.
    keys : dict, optional
        Keys of the protocol, its circuit or its cells to set, ``{"numerics.dt": 0.02}``; also as
        keywords where they have no dots.
    quick : bool
        The small size of the protocol's ``[quick]`` table.
    resume, force : bool
        Go on with an unfinished run; replace a finished one.
    progress : bool or callable
        Whether to show a progress bar; or what is told, in a learning run, how many of its
        passes over the data are done, and how many there are.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If anything in the protocol or its models is wrong; nothing has been written then.
    NumericalError
        If the simulation leaves its bounds.
    KeyboardInterrupt
        After Ctrl-C; what was saved is kept.
    """
    resolved = resolve.protocol(protocol, {**(keys or {}), **more}, quick=quick)
    number = 0 if seed is None else int(seed)
    path = Path(out) if out is not None else place(resolved, number)
    header: dict[str, Any] = {
        "name": resolved.name,
        "kind": resolved.kind,
        "engine": resolved.numerics.engine,  # type: ignore[attr-defined]
        "seed": number,
        "protocol": tomli_w.dumps(_plain(resolved.source)),
        "model": tomli_w.dumps(_plain(_model(resolved))),
    }
    began = time.monotonic()
    try:
        if isinstance(resolved, LearningProtocol):
            _learn(resolved, path, header, number, resume, force, progress)
        else:
            _record(resolved, path, header, number, resume, force, progress is True)
    except KeyboardInterrupt:
        if partial_folder(path).exists():
            raise KeyboardInterrupt(
                "stopped; the same command with --resume goes on from the last save") from None
        raise
    log.info("ran %s in %.1f s", resolved.name, time.monotonic() - began)
    return Result(path)


def result_path(protocol: str | Path, *, seed: int | None = None,
                keys: dict[str, Any] | None = None, quick: bool = False) -> Path:
    """Return where `run` with these arguments writes its result by default."""
    return place(resolve.protocol(protocol, keys or {}, quick=quick), seed or 0)


def place(resolved: Protocol, seed: int) -> Path:
    """Return where the result of a resolved protocol lies by default."""
    return default_path(_description(resolved), seed, resolved.name)


def _model(protocol: Protocol) -> dict[str, Any]:
    circuit, cell = protocol.circuit, protocol.cell
    if circuit is not None:
        return {"circuit": circuit.source,
                "cells": {name: c.source for name, c in circuit.cells.items()},
                "controllers": {n: c.source for n, c in circuit.controller_models.items()},
                "rules": {name: r.source for name, r in circuit.rules.items()},
                "synapses": {name: s.source for name, s in circuit.synapses.items()},
                "releases": {name: s.source for name, s in circuit.releases.items()}}
    model = {"cell": cell.source} if cell is not None else {}
    for kind in ("rules", "synapses"):  # of synapses under test
        found = {n: part.source for n, part in getattr(protocol, kind, {}).items()}
        model |= {kind: found} if found else {}
    return model


def _description(protocol: Protocol) -> dict[str, Any]:
    """Return what a run computes: protocol and model without defaults and what is only told.

    So a default that is written out, a new sentence in a file or a new kind of part, where there
    is none, renames no run.
    """
    table = protocol.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return _bare({"protocol": table, "model": _plain(_model(protocol))})


def _bare(value: Any) -> Any:
    """Return tables without empty tables, and files without what is told of them."""
    if not isinstance(value, dict):
        return value
    told = TOLD if "kind" in value else ()
    inside = {k: _bare(v) for k, v in value.items() if k not in told}
    return {k: v for k, v in inside.items() if v != {}}


def _plain(value: Any) -> Any:
    """Return what TOML can write: tuples become lists, tables lose what is None."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _learn(protocol: LearningProtocol, path: Path, header: dict[str, Any], seed: int, resume: bool,
           force: bool, progress: bool | Callable[[int, int], object]) -> None:
    from dfc_neuro.learning.plan import RatePhase
    from dfc_neuro.learning.planning import make_plan
    from dfc_neuro.learning.training import train
    from dfc_neuro.rates import threads

    plan = make_plan(protocol, seed)
    phase = plan.control_phase()
    numerics = protocol.numerics
    header |= {"method": protocol.method, "feedback": protocol.feedback,
               "integrator": phase.control.integrator if isinstance(phase, RatePhase) else None,
               "integration": plan.brian.method if plan.brian else None, "dt": numerics.dt,
               "precision": plan.dtype.name,
               "threads": numerics.threads or threads.available()}
    with Writer(path, header, force=force, resume=resume) as writer:
        train(plan, writer, progress)


def _record(protocol: Any, path: Path, header: dict[str, Any], seed: int, resume: bool,
            force: bool, progress: bool) -> None:
    record: Any
    if protocol.data.get("name") == "reference":
        from dfc_neuro.reference import record
    elif protocol.numerics.engine == "brian":
        from dfc_neuro.brian import record
    else:
        raise EngineError(f"{protocol.label}: numerics.engine", "'rates' records reference cases "
                          "(data.name = \"reference\") only", "set numerics.engine = \"brian\"")
    if resume and protocol.numerics.target == "cpp_standalone":
        raise EngineError("--resume", f"{protocol.label} runs whole (numerics.target = "
                          "\"cpp_standalone\"), there is nothing to go on from",
                          "leave --resume out, or set numerics.target = \"auto\"")
    check_measures(protocol)
    with Writer(path, header, force=force, resume=resume) as writer:
        record(protocol, writer, seed, progress)
        writer.finish(derive=partial(measures, protocol) if protocol.measure else None)
