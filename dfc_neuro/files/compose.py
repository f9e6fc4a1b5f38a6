"""Composed equation text: functions put in by syntax tree, one generated line a socket.

What comes out is Brian2's.  Nothing else touches a model: what is attached to a compartment is
summed in its socket's line, parameters and derived constants are shared variables of the group,
so that they follow a subexpression into a synapse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dfc_neuro.errors import ModelError, near
from dfc_neuro.files import schema, text
from dfc_neuro.files.units import unit_text


def _unit(line: text.Equation) -> str:
    return unit_text(line.dims) if "(" in line.unit else line.unit


def equation_lines(model: schema.Description, lines: Sequence[text.Equation]) -> list[str]:
    """Return parsed equations as Brian2 text, a line each, with the model's functions put in."""
    assert isinstance(model, schema.Constants)
    written = []
    for line in model.inlined(lines, "equations"):
        flags = f" ({', '.join(line.flags)})" if line.flags else ""
        left = f"d{line.name}/dt" if line.kind == "differential" else line.name
        if line.tree is not None:
            left = f"{left} = {text.write(line.tree)}"
        written.append(f"{left} : {_unit(line)}{flags}")
    return written


def constant_lines(model: schema.Description) -> list[str]:
    """Return parameters and derived constants as shared constants of a group, a line each."""
    assert isinstance(model, schema.Constants)
    return [f"{name} : {unit_text(quantity.dimensions)} (constant, shared)"
            for name, quantity in model.constants.items()]


def socket_line(cell: schema.Cell, compartment: str, terms: Sequence[str]) -> str:
    """Return the line that sums all that is attached to a compartment."""
    unit = unit_text(cell.inputs[compartment])
    total = " + ".join(terms) or ("0" if unit == "1" else f"0*{unit}")
    return f"{cell.compartments[compartment].input} = {total} : {unit}"


def cell_text(cell: schema.Cell, inputs: Mapping[str, Sequence[str]]) -> str:
    """Return the composed Brian2 equations of a cell.

    Parameters
    ----------
    cell : Cell
    inputs : dict of compartment to list of str
        Terms that each socket sums; a compartment that is left out has none.

    Raises
    ------
    ModelError
        If the cell has no such compartment.
    """
    for compartment in inputs:
        if compartment not in cell.compartments:
            raise ModelError(cell.label, f"there is no compartment '{compartment}'",
                             near(compartment, cell.compartments))
    lines = equation_lines(cell, cell.lines)
    lines += [socket_line(cell, name, inputs.get(name, ())) for name in cell.compartments]
    for key, table in (("observables", cell.observables), ("axon", cell.axon)):
        for name, formula in table.items():
            where = f"{cell.label}: {key}.{name}"
            tree, _, dims = text.with_unit(formula, where, cell.definitions)
            written = text.write(text.inline(tree, cell.definitions, where))
            variable = name if key == "observables" else cell.sent(name)
            lines.append(f"{variable} = {written} : {unit_text(dims)}")
    return "\n".join(lines + constant_lines(cell)) + "\n"


def controller_text(controller: schema.Controller) -> str:
    """Return the composed equations of a controller; what it reads and `target` stay open."""
    return "\n".join(equation_lines(controller, controller.lines)
                     + constant_lines(controller)) + "\n"


def synapse_text(synapse: schema.Synapse) -> str:
    """Return the composed equations of a synapse, its events and its current or release."""
    lines = equation_lines(synapse, synapse.lines)
    key = "current" if synapse.current else "release"
    for event, texts in (("on_pre", synapse.on_pre), ("after", synapse.after)):
        if event == "after" and synapse.release:
            lines.append(f"release = {text.write(synapse.expression(synapse.release, key))}")
        lines += [f"{event}: {statement_text(synapse, s)}"
                  for s in text.statements(list(texts), synapse.label, synapse.definitions)]
    if synapse.current:
        lines.append(f"current = {text.write(synapse.expression(synapse.current, key))}")
    return "\n".join(lines + constant_lines(synapse)) + "\n"


def statement_text(model: schema.Description, statement: text.Statement) -> str:
    """Return a statement with the model's functions put in."""
    assert isinstance(model, schema.Constants)
    tree = text.inline(statement.tree, model.definitions, model.label)
    return f"{statement.name} {statement.operator} {text.write(tree)}"


def rule_text(rule: schema.Rule) -> str:
    """Return the composed equations and events of a rule, with the side each one lives on."""
    lines = []
    for side in ("pre", "post", "synapse", "bias"):
        lines += [f"{side + ':':8} {line}" for line in equation_lines(rule, rule.part(side))]
    for key, texts in (("on_pre", rule.on_pre), ("on_post", rule.on_post)):
        lines += [f"{key + ':':8} {statement_text(rule, s)}"
                  for s in text.statements(list(texts), rule.label, rule.definitions)]
    return "\n".join(lines + constant_lines(rule)) + "\n"
