"""The command ``dfc-neuro``: what a user wrote wrong is one message and exit status 2."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from dfc_neuro import __version__
from dfc_neuro.errors import DfcNeuroError, InputError, near

LISTED = ("cells", "synapses", "controllers", "rules", "circuits", "methods", "protocols",
          "figures", "datasets")


class Commands(click.Group):
    """The commands; turns an error into one message on stderr and an exit status."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None,
             complete_var: str | None = None, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name or "dfc-neuro", complete_var, False, **extra)
        try:
            code = super().main(args, prog_name or "dfc-neuro", complete_var, False, **extra)
        except DfcNeuroError as error:
            _fail(str(error), error.exit_code)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except (click.Abort, KeyboardInterrupt) as error:  # click puts the one around the other
            _fail(str(error.__cause__ or error) or "stopped", 130)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            _fail(f"{place}{error.strerror or error}", 1)
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.commands:
            raise InputError("command", f"unknown command '{name}'", near(name, self.commands))
        return super().resolve_command(ctx, args)


def _fail(message: str, code: int) -> None:
    click.echo(f"dfc-neuro: {message}", err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dfc-neuro")
def main() -> None:
    """Simulate pyramidal neurons that learn by feedback."""


def _say_what_happens() -> None:
    logger = logging.getLogger("dfc_neuro")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


@main.command()
@click.argument("protocol")
@click.option("-o", "--out", metavar="FILE.h5", help="The result file; results/NAME-HASH.h5 if "
              "not given.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the run, 0 if not given.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="Set a key of the protocol or of its model; may be given many times.")
@click.option("--quick", is_flag=True, help="The small size that the protocol names.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--force", is_flag=True, help="Replace an existing result.")
def run(protocol: str, out: str | None, seed: int | None, assignments: tuple[str, ...],
        quick: bool, resume: bool, force: bool) -> None:
    """Run a protocol, by name or path."""
    from dfc_neuro.files.keys import parse_assignment
    from dfc_neuro.run import run as run_protocol

    if resume and force:
        raise InputError("--resume, --force", "are given together", "choose one of the two")
    keys = _once("--set", map(parse_assignment, assignments))
    _say_what_happens()
    result = run_protocol(protocol, out=out, seed=seed, keys=keys, quick=quick, resume=resume,
                          force=force)
    for line in _measures(result):
        click.echo(line)
    click.echo(f"result {result.path}")


def _once(option: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"{option} {key}", "is given twice")
        found[key] = value
    return found


@main.command()
@click.argument("protocol")
@click.option("--over", "axes", multiple=True, metavar="KEY=V1,V2",
              help="Values of a key, as a comma list or TOML array; may be given many times.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
              help="Seeds 0 to N-1 at every point.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="Set a key in all runs; may be given many times.")
@click.option("--scheduler", metavar="ADDRESS",
              help="A running Dask scheduler, tcp://HOST:PORT; else a cluster on this machine.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N",
              help="Processes on this machine; as many as processors if not given.")
@click.option("--quick", is_flag=True, help="The small size that the protocol names.")
def sweep(protocol: str, axes: tuple[str, ...], seeds: int, assignments: tuple[str, ...],
          scheduler: str | None, workers: int | None, quick: bool) -> None:
    """Run a grid in parallel; the same command goes on with what is unfinished."""
    from dfc_neuro.files.keys import parse_assignment
    from dfc_neuro.sweep import sweep as sweep_protocol
    from dfc_neuro.sweep._grid import parse_over

    if scheduler is not None and workers is not None:
        raise InputError("--scheduler, --workers", "are given together",
                         "--workers is for a cluster on this machine")
    over = _once("--over", map(parse_over, axes))
    keys = _once("--set", map(parse_assignment, assignments))
    _say_what_happens()
    done = sweep_protocol(protocol, over=over, seeds=seeds, keys=keys, quick=quick,
                          scheduler=scheduler, workers=workers)
    for line in done.summary():
        click.echo(line)
    click.echo(f"{len(done.runs)} runs: " + ", ".join(
        f"{sum(run.status == status for run in done.runs)} {said}" for status, said in
        (("done", "done now"), ("found", "there already"), ("failed", "failed"))))
    click.echo(f"index {_near(done.index)}")
    for run in done.failed:
        click.echo(f"dfc-neuro: {run.point.title}: {run.message.strip()}", err=True)
    if done.failed:
        sys.exit(1)


def _near(path: Path) -> Path:
    """Return a path as seen from here, if it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _measures(result: Any) -> list[str]:
    """Return the measures of a result, a line each; the part of wrong classes in per cent."""
    data = result.protocol.get("data", {})
    classes = (result.attrs.get("kind") == "learning"
               and data.get("loss", "cross_entropy") == "cross_entropy")
    lines = []
    for name, measure in _leaves(result.measures):
        values, said = measure.values, name.replace("_", " ")
        unit = "" if measure.units in ("", "1") else f" {measure.units}"
        if classes and name.endswith("_error"):
            lines.append(f"{said} {100 * float(values):.1f} %")
        elif values.size == 1 and values.dtype.kind in "fiu":
            lines.append(f"{said} {float(values.ravel()[0]):.4g}{unit}")
        elif measure.dims == ("condition",):
            lines += [f"{said}, {label}: {float(value):.4g}{unit}"
                      for label, value in zip(measure.coords["condition"], values, strict=True)]
        else:
            lines.append(f"{said} {' '.join(str(values).split())}{unit}")
    return lines


def _leaves(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name in group:
        if isinstance(group[name], Mapping):
            yield from _leaves(group[name], f"{above}{name}, ")
        else:
            yield f"{above}{name}", group[name]


@main.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--from", "sources", multiple=True, metavar="FILE.h5",
              help="Draw from this result; runs nothing.")
@click.option("-o", "--out", "directory", metavar="DIR", help="Folder of the pictures.")
@click.option("--format", "formats", default="pdf,svg,png", show_default=True,
              help="Comma list of pdf, svg, png.")
@click.option("--quick", is_flag=True, help="Run what is missing in its small size.")
def figure(names: tuple[str, ...], sources: tuple[str, ...], directory: str | None, formats: str,
           quick: bool) -> None:
    """Draw figures; runs first what they need and is missing."""
    from dfc_neuro.figure import draw

    wanted = tuple(part.strip() for part in formats.split(",") if part.strip())
    for part in wanted or ("",):
        if part not in ("pdf", "svg", "png"):
            raise InputError("--format", f"found '{part}'", "allowed are pdf, svg, png")
    _say_what_happens()
    for path in draw(names, sources=sources, directory=directory, formats=wanted, quick=quick):
        click.echo(path)


@main.command()
@click.argument("rules", nargs=-1, required=True, metavar="RULE...")
@click.option("--cell", metavar="NAME", help="Run the experiments on this cell.")
@click.option("-o", "--out", metavar="DIR", help="Folder of the page; results/compare if not "
              "given.")
@click.option("--quick", is_flag=True, help="The small size of everything.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes; one for each "
              "processor if not given.")
def compare(rules: tuple[str, ...], cell: str | None, out: str | None, quick: bool,
            workers: int | None) -> None:
    """Put rules of plasticity through every experiment; write one page."""
    from dfc_neuro.laboratory import compare as compare_rules

    _say_what_happens()
    done = compare_rules(rules, cell=cell, out=out, quick=quick, workers=workers)
    click.echo(f"page {done.path}")


@main.command()
@click.argument("rule")
@click.option("--to", required=True, metavar="DATA", help="An experiment with published data, or "
              "the name of the data.")
@click.option("--free", "free", multiple=True, required=True, metavar="NAME",
              help="A parameter to fit; may be given many times, or as a comma list.")
@click.option("--bounds", "bounds", multiple=True, metavar="NAME=LOW:HIGH",
              help="In the unit that the rule writes; a tenth and ten times the value if not "
              "given.")
@click.option("--cell", metavar="NAME", help="Run the experiment on this cell.")
@click.option("-o", "--out", metavar="FILE.toml", help="The new rule; RULE_fitted.toml if not "
              "given.")
@click.option("--quick", is_flag=True, help="The small size of the experiment.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def fit(rule: str, to: str, free: tuple[str, ...], bounds: tuple[str, ...], cell: str | None,
        out: str | None, quick: bool, force: bool) -> None:
    """Fit parameters of a rule to published measurements."""
    from dfc_neuro.laboratory import fit as fit_rule

    ranges = {}
    for text in bounds:
        name, _, span = text.partition("=")
        low, _, high = span.partition(":")
        try:
            ranges[name.strip()] = float(low), float(high)
        except ValueError:
            raise InputError("--bounds", f"found '{text}'", "write NAME=LOW:HIGH") from None
    _say_what_happens()
    names = [name.strip() for part in free for name in part.split(",") if name.strip()]
    done = fit_rule(rule, to=to, free=names, bounds=ranges, cell=cell, out=out, quick=quick,
                    force=force)
    for name, value in done.values.items():
        click.echo(f"{name} {value:.4g} +- {done.errors[name]:.2g} {done.units[name]}".rstrip())
    click.echo(f"rms {done.rms[0]:.4g} before, {done.rms[1]:.4g} after, {done.n} measurements")
    click.echo(f"rule {done.path}")


@main.command("list")
@click.argument("kind", required=False, metavar="[" + "|".join(LISTED) + "]")
def list_(kind: str | None) -> None:
    """List what there is, a line each."""
    if kind is not None and kind not in LISTED:
        raise InputError("list", f"unknown kind '{kind}'", near(kind, LISTED))
    for group in LISTED if kind is None else (kind,):
        entries = _entries(group)
        if kind is None:
            click.echo(f"{group}:")
        width = max(map(len, entries), default=0)
        for name, summary in entries.items():
            click.echo(f"{'' if kind else '  '}{name:{width}}  {summary}")


def _entries(group: str) -> dict[str, str]:
    if group in ("methods", "datasets"):
        from dfc_neuro import registry

        return registry.names(group)
    if group == "figures":
        import ast
        from importlib.resources import files

        scripts = [f for f in files("dfc_neuro.figures").iterdir()
                   if f.name.endswith(".py") and not f.name.startswith("_")]
        return {f.name.removesuffix(".py"):
                (ast.get_docstring(ast.parse(f.read_text(encoding="utf-8"))) or "")
                .partition("\n")[0] for f in sorted(scripts, key=lambda f: f.name)}
    from dfc_neuro.files import library
    from dfc_neuro.files.load import read

    kind = group.removesuffix("s")
    return {name: read(library.find(name, (kind,))).get("summary", "")
            for name in library.names(kind)}


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check(files: tuple[str, ...]) -> None:
    """Validate model and protocol files: their keys, units, equations, and all they name."""
    from dfc_neuro.files import load

    wrong = []
    for name in files:
        try:
            model = load(name)
            if model.kind == "recording":
                from dfc_neuro.measures import check_measures

                check_measures(model)
        except InputError as error:
            wrong.append(str(error))
            click.echo(f"dfc-neuro: {error}", err=True)
        else:
            click.echo(f"{name}: {model.kind}, well")
    if wrong:
        sys.exit(2)


@main.command()
@click.argument("name", metavar="NAME|FILE.h5")
def show(name: str) -> None:
    """Show a model's composed equations and parameters, or what a result file holds."""
    from dfc_neuro.files.describe import describe, describe_result

    if name.endswith((".h5", ".hdf5")):
        from dfc_neuro.results import Result

        for line in describe_result(Result(Path(name))):
            click.echo(line)
        for line in _measures(Result(Path(name))):
            click.echo(line)
        return
    click.echo(describe(name), nl=False)


@main.command()
@click.argument("file", metavar="FILE.h5")
def verify(file: str) -> None:
    """Recompute every quantity of a reference file; exit status 1 if one is off."""
    from dfc_neuro.verify import verify as verify_file

    sys.exit(verify_file(file))


@main.command()
@click.option("--json", "file", metavar="FILE", help="Write the table as JSON, too.")
@click.option("--quick", is_flag=True, help="float32 on all threads, and fewer repeats.")
def bench(file: str | None, quick: bool) -> None:
    """Time every method and integrator on this machine."""
    from dfc_neuro.bench import bench as measure
    from dfc_neuro.bench._report import lines, writable, write

    path = None if file is None else writable(Path(file))
    table = measure(quick=quick, tell=lambda text: click.echo(f"... {text}", err=True))
    for line in lines(table):
        click.echo(line)
    if path is not None:
        write(table, path)
        click.echo(f"table {path}")


@main.command()
def doctor() -> None:
    """Say what this machine has, and what is missing."""
    from dfc_neuro.doctor import report

    sys.exit(report(click.echo))
