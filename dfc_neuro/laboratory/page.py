"""The page of a comparison: one HTML file that holds its figures and needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfc_neuro import __version__
from dfc_neuro.figure import draw_one
from dfc_neuro.files.compose import rule_text
from dfc_neuro.files.schema import Rule
from dfc_neuro.laboratory import numbers
from dfc_neuro.laboratory.battery import BENCHMARK, EXPERIMENTS
from dfc_neuro.results import Result

Results = Mapping[str, Mapping[str, Sequence[Result]]]
Reasons = Mapping[str, Mapping[str, str]]
TITLES = {
    "clopath_clamp": "Voltage clamp",
    "stdp_window": "STDP window",
    "pairing_frequency": "Pairing frequency",
    "burst_pairing": "Bursts",
    "triplets": "Triplets",
    "heterosynaptic": "Heterosynaptic",
    "bac_pairing": "BAC pairing",
    "proximal_distal": "Proximal, distal",
    "dendritic_prediction": "Dendritic prediction",
    "dfc_step": "DFC step",
    BENCHMARK: "Learning: digits",
}
ANGLES = {"angle_bp": "angle to BP", "angle_gn": "angle to GN", "angle_mn": "angle to MN",
          "angle_ssa": "angle to DFC's update"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
h2 { border-top: 2px solid #ccc; padding-top: 1rem; margin-top: 3rem }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; font-size: 13px; line-height: 1.4 }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }
th, td { border: 1px solid #ccc; padding: .3rem .5rem; text-align: left; vertical-align: top }
th { background: #f4f4f4 }
td.none { color: #767676 }
section { display: grid; grid-template-columns: repeat(auto-fill, minmax(25rem, 1fr)); gap: 1.5rem }
figure { margin: 0 } figure.wide { grid-column: 1/-1 }
figure img { width: 100%; max-width: 60rem } figcaption { font-size: 13px; color: #444 }
"""


def write(rules: Mapping[str, Rule], results: Results, reasons: Reasons, folder: Path,
          quick: bool, cell: str | None) -> str:
    """Return the page, and write its figures to a folder.

    Parameters
    ----------
    rules : dict of Rule
    results, reasons : dict of dict
        By rule and protocol: its results, or why there is none.
    folder : Path
        For the figures, as SVG.
    quick : bool
        Everything ran in its small size.
    cell : str or None
        The cell of all experiments.
    """
    size = ("Small sizes (--quick): for a look, not for conclusions." if quick
            else "Full sizes of the protocols.")
    where = f" All experiments on the cell {html.escape(cell)}." if cell else ""
    parts = [_summary(rules, results, reasons)]
    parts += [_rule(name, rule, results[name], reasons[name], folder)
              for name, rule in rules.items()]
    return (f"<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><title>Rules of plasticity "
            f"compared</title><meta name=viewport content='width=device-width'>"
            f"<style>{STYLE}</style>\n<h1>Rules of plasticity compared</h1>\n"
            f"<p>dfc_neuro {__version__}. {size}{where} Errors are root mean squares over the "
            "published conditions, in the unit of the measurement, with the central 95&nbsp;% over "
            "2000 resamplings of the conditions; learning is the mean over seeds with Student's "
            "95&nbsp;% interval.</p>\n" + "\n".join(parts) + "\n</html>\n")


def _summary(rules: Mapping[str, Rule], results: Results, reasons: Reasons) -> str:
    columns = [*EXPERIMENTS, BENCHMARK]
    head = "".join(f"<th>{TITLES[c]}</th>" for c in columns)
    rows = []
    for name in rules:
        cells = "".join(_cell(results[name][c], reasons[name].get(c, ""), c) for c in columns)
        rows.append(f"<tr><th><a href='#{html.escape(name)}'>{html.escape(name)}</a></th>"
                    f"{cells}</tr>")
    return f"<table><tr><th>rule</th>{head}</tr>\n" + "\n".join(rows) + "</table>"


def _cell(runs: Sequence[Result], reason: str, protocol: str) -> str:
    if not runs:
        return f"<td class=none>{html.escape(reason)}</td>"
    return f"<td>{html.escape(said(runs, protocol))}</td>"


def said(runs: Sequence[Result], protocol: str) -> str:
    """Return what the summary says of the runs of a rule in a protocol."""
    if protocol == BENCHMARK:
        found = numbers.learning(runs)
        gained = found["gained"]
        verdict = "learns" if (gained.low if gained.n > 1 else gained.value) > 0 else \
            "does not learn"
        return (f"{verdict}: test error {found['test error'].shown(1)} % "
                f"(before training {found['before'].value:.1f} %)")
    run = runs[0]
    for measure in run.measures:
        error = numbers.error_against_data(run, measure)
        if error is not None:
            return f"error {error.shown(1, ' ' + run.measures[measure].units)}, n = {error.n}"
    texts = []
    for measure in run.measures:
        values, unit = run.measures[measure].values, run.measures[measure].units
        if unit in ("volt", "second"):  # of the cell, whatever the rule
            continue
        shown = "" if unit in ("", "1") else f" {unit}"
        low, high = float(values.min()), float(values.max())
        span = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        texts.append(f"{measure.replace('_', ' ')} {span}{shown}")
    return "; ".join(texts)


def _rule(name: str, rule: Rule, results: Mapping[str, Sequence[Result]],
          reasons: Mapping[str, str], folder: Path) -> str:
    title = html.escape(name)
    references = f" ({html.escape(', '.join(rule.references))})" if rule.references else ""
    parts = [f"<h2 id='{title}'>{title}</h2>\n<p>{html.escape(rule.summary)}{references}</p>",
             f"<pre>{html.escape(_text(rule))}</pre>"]
    parts += [f"<p>Departure: {html.escape(d)}</p>" for d in rule.departures]
    parts.append(_learning(results[BENCHMARK], reasons.get(BENCHMARK, "")))
    figures = []
    for protocol, figure in EXPERIMENTS.items():
        if results[protocol]:
            path = draw_one(figure, {"run": results[protocol][0]}, folder, f"{name}_{protocol}")
            picture = base64.b64encode(path.read_bytes()).decode()
            caption = f"<b>{TITLES[protocol]}</b>: {html.escape(said(results[protocol], protocol))}"
            figures.append(f"<figure class={_width(path)}><img alt='{TITLES[protocol]} of {title}' "
                           f"src='data:image/svg+xml;base64,{picture}'>"
                           f"<figcaption>{caption}</figcaption></figure>")
    missing = [f"{TITLES[p]}: {html.escape(reasons[p])}" for p in EXPERIMENTS if reasons.get(p)]
    parts.append("<section>" + "\n".join(figures) + "</section>")
    if missing:
        parts.append("<p>Not run. " + ". ".join(missing) + ".</p>")
    return "\n".join(parts)


def _text(rule: Rule) -> str:
    """Return the equations of a rule, its parameters with their values."""
    lines = [line for line in rule_text(rule).splitlines() if not line.endswith(", shared)")]
    lines += [f"{name} = {quantity.text}" for name, quantity in rule.constants.items()]
    lines += [f"{name} within [{low:g}, {high:g}]" for name, (low, high) in rule.bounds.items()]
    return "\n".join(lines)


def _width(path: Path) -> str:
    """Return the class of a figure: wide ones take the whole line."""
    width = float(path.read_text(encoding="utf-8").partition('width="')[2].partition("pt")[0])
    return "wide" if width > 300 else "narrow"


def _learning(runs: Sequence[Result], reason: str) -> str:
    if not runs:
        return f"<p><b>Learning</b>: {html.escape(reason)}</p>"
    found = numbers.learning(runs)
    angles = "; ".join(f"{text} {found[key].shown(1)}°" for key, text in ANGLES.items()
                       if key in found)
    return (f"<p><b>Learning</b> (digits, {found['test error'].n} seeds): "
            f"{html.escape(said(runs, BENCHMARK))}. {angles}.</p>")
