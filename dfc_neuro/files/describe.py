"""A model, protocol or result as text for people."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli_w

from dfc_neuro.files import compose, schema, text
from dfc_neuro.files.load import load
from dfc_neuro.files.protocols import Protocol
from dfc_neuro.files.resolve import conditions
from dfc_neuro.files.units import unit_text

_SECTIONS = ("references", "departures")


def describe(name: str | Path) -> str:
    """Return a model's composed equations, constants, references and departures.

    Parameters
    ----------
    name : str or Path
        Name or path of a model or protocol.

    Raises
    ------
    InputError
        If it is wrong.
    """
    model = load(name)
    parts = [f"{model.name}: {model.summary}", f"{model.kind}, {model.label}", ""]
    if isinstance(model, schema.Cell):
        parts += _cell(model)
    elif isinstance(model, schema.Controller):
        parts += ["equations", *_indented(_text(compose.controller_text(model)))]
    elif isinstance(model, schema.Synapse):
        parts += ["equations", *_indented(_text(compose.synapse_text(model)))]
    elif isinstance(model, schema.Rule):
        parts += _rule(model)
    elif isinstance(model, schema.Circuit):
        parts += _circuit(model)
    elif isinstance(model, Protocol):
        parts += _protocol(model)
    if isinstance(model, schema.Constants) and model.constants:
        parts += ["", "parameters", *_indented(_constants(model))]
    for key in _SECTIONS:
        if getattr(model, key):
            parts += ["", key, *_indented(getattr(model, key))]
    return "\n".join(parts) + "\n"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _text(composed: str) -> list[str]:
    """Drop the lines of parameters, which have a table of their own."""
    return [line for line in composed.splitlines() if not line.endswith("(constant, shared)")]


def _constants(model: schema.Constants) -> list[str]:
    width = max(map(len, model.constants))
    lines = []
    for name, quantity in model.constants.items():
        formula = f"   = {model.derived[name]}" if name in model.derived else ""
        unit = unit_text(quantity.dimensions)
        computed = f"{quantity.value:.6g}" + ("" if unit == "1" else f" {unit}")
        written = str(model.parameters.get(name, computed))
        lines.append(f"{name:{width}}  {written}{formula}")
    return lines


def _cell(cell: schema.Cell) -> list[str]:
    inputs = {name: [f"{c.input}_attached"] for name, c in cell.compartments.items()}
    lines = ["equations, as composed (NAME_attached: the sum of all that is attached)",
             *_indented(_text(compose.cell_text(cell, inputs)))]
    if cell.spike is not None:
        tree = cell.expression(cell.spike.when, "spike.when")
        lines += ["", f"spikes when {text.write(tree)}",
                  *_indented(cell.spike.reset)]
    lines += ["", "compartments"]
    lines += _indented(f"{name}: voltage {c.voltage}, input {c.input} in "
                       f"{unit_text(cell.inputs[name])}" for name, c in cell.compartments.items())
    if cell.axon:
        lines += ["", "others read", *_indented(f"{n} = {e}" for n, e in cell.axon.items())]
    offers = [f"{name} ({unit_text(dims)})" for name, dims in cell.offers.items()
              if name not in cell.constants]
    return [*lines, "", "may be read", *_indented([", ".join(offers)])]


def _rule(rule: schema.Rule) -> list[str]:
    lines = ["reads"]
    for side, reads in (("post", rule.reads.post), ("pre", rule.reads.pre)):
        shown = [name if unit is True else f"{name} ({unit})" for name, unit in reads.items()]
        lines.append(f"  {side}: {', '.join(shown) or 'nothing'}")
    lines += ["", "equations, as composed", *_indented(_text(compose.rule_text(rule)))]
    if rule.bounds:
        lines += ["", "bounds", *_indented(f"{name} in [{low:g}, {high:g}]"
                                           for name, (low, high) in rule.bounds.items())]
    return lines


def _circuit(circuit: schema.Circuit) -> list[str]:
    lines = ["populations"]
    for name, p in circuit.populations.items():
        what = p.cell if p.source is None else f"source of {p.source}"
        what = f"{what} ({p.cells_per_unit} cells a unit)" if p.cells_per_unit > 1 else what
        changed = "".join(f", {head} = {body}" for head, body in p.functions.items())
        lines.append(f"  {name}: {p.n} x {what}{changed}")
    lines += ["", "controllers"]
    for name, use in circuit.controllers.items():
        shown = ", ".join(f"{key} = {value}" for key, value in use.settings.items())
        lines.append(f"  {name}: {use.model}, {shown}")
    lines += ["", "projections"]
    for name, j in circuit.projections.items():
        scale = circuit.scale(name).text
        scale = "" if scale == "1" else f", scale {scale}"
        synapse = f", synapse {j.synapse}" if j.synapse else ""
        lines.append(f"  {name}: {j.to} <- {j.from_}, connect {j.connect}, w {j.w}, "
                     f"rule {j.rule or 'none'}{synapse}{scale}")
    return lines


def _protocol(protocol: Protocol) -> list[str]:
    table = {key: value for key, value in protocol.source.items()
             if key not in ("kind", "summary", *_SECTIONS)}
    lines = ["as resolved", *_indented(tomli_w.dumps(table).splitlines())]
    if protocol.circuit is not None:
        lines += ["", f"runs on the circuit {protocol.on}", *_indented(_circuit(protocol.circuit))]
    if protocol.kind == "recording":
        labels = [label for label, _ in conditions(protocol)]  # type: ignore[arg-type]
        lines += ["", f"{len(labels)} conditions: " + "; ".join(labels[:20])]
    return lines


def describe_result(result: Any) -> list[str]:
    """Return what ran, with which versions, and what the file holds, a line each.

    Parameters
    ----------
    result : Result
    """
    lines = [f"{result.path}"]
    for name, value in result.attrs.items():
        if name not in ("protocol", "model"):
            lines.append(f"  {name:12} {value}")
    for kind in ("recordings", "spikes", "weights", "metrics"):
        names = list(getattr(result, kind))
        if names:
            lines.append(f"{kind}: {', '.join(names)}")
    protocol = result.attrs.get("protocol", "")
    if protocol:
        lines += ["", "protocol, as resolved", *_indented(protocol.splitlines())]
    return lines
