"""Names and units of the texts of a file: what the checks of every kind are made of."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from dfc_neuro.errors import ModelError, near
from dfc_neuro.files import schema, text, units
from dfc_neuro.files.dimensions import Known, dimension, unknown_names
from dfc_neuro.files.units import DIMENSIONLESS, Dimension, unit_text

SECOND = units.table()["second"][1]


def check_constants(model: schema.Constants) -> None:
    """Check parameters and derived constants, each of which may read those above it."""
    _ = model.definitions
    known: dict[str, Dimension | None] = {}
    for name in (*model.parameters, *model.derived):
        key = "parameters" if name in model.parameters else "derived"
        text.check_name(name, f"{model.label}: {key}.{name}")
        if key == "derived":
            tree = model.expression(model.derived[name], f"derived.{name}")
            check_fits(tree, known, f"{model.label}: derived.{name}", None)
        else:
            where = f"{model.label}: parameters.{name}"
            quantity = units.quantity(model.parameters[name], where)
            time_constant(name, quantity, where)
            known[name] = quantity.dimensions
            continue
        known[name] = dimension(tree, known)
    both = set(model.parameters) & set(model.derived)
    if both:
        raise ModelError(f"{model.label}: derived.{min(both)}", "is a parameter too")
    try:
        _ = model.constants
    except ValueError as error:
        raise ModelError(f"{model.label}: derived", str(error)) from None


def time_constant(name: str, quantity: units.Quantity, where: str) -> None:
    """Refuse a time constant (a name that starts with ``tau``) that is no positive time."""
    if not (name == "tau" or name.startswith("tau_")):
        return
    if quantity.dimensions not in (SECOND, DIMENSIONLESS):
        raise ModelError(where, f"found '{quantity.text}' in {unit_text(quantity.dimensions)}, "
                                "a time constant is a time", "write for instance \"20 ms\"")
    if quantity.value <= 0:
        raise ModelError(where, f"found '{quantity.text}', a time constant is positive")


def check_fits(tree: ast.expr, known: Known, where: str, wanted: Dimension | None,
               what: str = "the expression") -> Dimension | None:
    """Check names and units of an expression; `wanted` None accepts any unit."""
    missing = unknown_names(tree, known)
    if missing:
        name = min(missing)
        raise ModelError(where, f"unknown name '{name}'",
                         near(name, known) if known else "nothing may be read here")
    try:
        found = dimension(tree, known)
    except ValueError as error:
        raise ModelError(where, str(error)) from None
    if None not in (wanted, found) and wanted != found:
        assert wanted is not None and found is not None
        raise ModelError(where, f"{what} is in {unit_text(found)}, {unit_text(wanted)} is needed")
    return found


def check_distinct(label: str, tables: Mapping[str, Iterable[str]]) -> None:
    """Refuse a name that two tables define."""
    seen: dict[str, str] = {}
    for key, names in tables.items():
        for name in names:
            if name in seen:
                raise ModelError(f"{label}: {key}", f"'{name}' is defined in {seen[name]} too")
            seen[name] = key


def _per_line(line: text.Equation) -> Dimension:
    return units.product(line.dims, SECOND, -1) if line.kind == "differential" else line.dims


def check_lines(model: schema.Constants, lines: Iterable[text.Equation], known: Known,
                key: str) -> None:
    """Check names and units on the right side of each line."""
    for line in lines:
        if line.tree is not None:
            where = f"{model.label}: {key} line {line.line}"
            check_fits(line.tree, known, where, _per_line(line), f"the right side of '{line.name}'")


def _no_circle(model: schema.Constants, lines: Iterable[text.Equation], key: str) -> None:
    reads = {line.name: text.names(line.tree) for line in lines
             if line.kind == "subexpression" and line.tree is not None}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ModelError(f"{model.label}: {key}", f"'{name}' depends on itself",
                             "make one of them a state: dx/dt = ...")
        for other in sorted(reads[name] & set(reads)):
            visit(other, (*above, name))

    for name in reads:
        visit(name, ())


def check_equations(model: schema.Constants, written: tuple[text.Equation, ...],
                    known: dict[str, Dimension | None], key: str = "equations") -> None:
    """Check all lines; when units do not fit, name the one parameter that would explain it."""
    lines = model.inlined(written, key)
    _no_circle(model, lines, key)
    try:
        check_lines(model, lines, known, key)
    except ModelError as error:
        if "unknown name" in error.found:
            raise
        suspects: dict[str, int] = {}
        for name in model.parameters:
            freed = model.entered_by(name)
            try:
                check_lines(model, lines, {**known, **dict.fromkeys(freed)}, key)
            except ModelError:
                continue
            suspects[name] = len(freed)
        fewest = [name for name, n in suspects.items() if n == min(suspects.values())]
        if len(fewest) != 1:
            raise
        value = model.parameters[fewest[0]]
        raise ModelError(
            f"{model.label}: parameters.{fewest[0]}",
            f"found {value!r}, whose unit does not fit {error.where.rpartition(': ')[2]}: "
            f"{error.found}") from None


def states_of(lines: Iterable[text.Equation]) -> set[str]:
    """Return the names that hold a value of their own."""
    return {line.name for line in lines if line.kind != "subexpression"}


def check_initial(model: schema.Constants, table: Mapping[str, object],
                  states: Mapping[str, Dimension], known: Known) -> None:
    """Check start values: of states that there are, in their units."""
    for name, value in table.items():
        where = f"{model.label}: initial.{name}"
        if name not in states:
            raise ModelError(where, "there is no such state", near(name, states))
        start(model, value, where, known, states[name])


def start(model: schema.Constants, value: object, where: str, known: Known,
          wanted: Dimension) -> ast.expr | units.Quantity:
    """Read a start value: a quantity (``"-70 mV"``) or an expression (``"E_L"``)."""
    try:
        quantity = units.parse(value)
    except ValueError:
        tree = text.inline(text.expression(value, where, model.definitions), model.definitions,
                           where)
        check_fits(tree, known, where, wanted)
        return tree
    if quantity.dimensions != wanted:
        raise ModelError(where, f"found '{quantity.text}', {unit_text(wanted)} is needed")
    return quantity


def is_condition(value: object) -> bool:
    """Whether a text compares, as ``V_m > V_th`` does."""
    return isinstance(value, str) and ("<" in value or ">" in value)


def check_statements(model: schema.Constants, texts: tuple[str, ...], key: str, known: Known,
                     targets: Known) -> None:
    """Check statements such as ``x += 1``; `targets` are the states that they may change."""
    where = f"{model.label}: {key}"
    for statement in text.statements(list(texts), where, model.definitions):
        if statement.name not in targets:
            raise ModelError(where, f"'{statement.name}' is not a state that can be changed here",
                             near(statement.name, targets))
        tree = text.inline(statement.tree, model.definitions, where)
        wanted = targets[statement.name]
        if statement.operator in ("*=", "/="):
            wanted = DIMENSIONLESS
        check_fits(tree, known, where, wanted, f"the change of '{statement.name}'")
