"""Equation text of the models as Brian2 objects: quantities, renaming, clamps, dependences."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import brian2 as b2
from brian2.core.base import BrianObjectException
from brian2.equations.equations import (
    DIFFERENTIAL_EQUATION,
    PARAMETER,
    SUBEXPRESSION,
    EquationError,
    Expression,
    SingleEquation,
)
from brian2.units.fundamentalunits import Quantity as BrianQuantity
from brian2.units.fundamentalunits import get_or_create_dimension

from dfc_neuro.errors import ModelError
from dfc_neuro.files import text as grammar
from dfc_neuro.files.compose import equation_lines, statement_text
from dfc_neuro.files.units import Dimension, Quantity, parse, unit_text

NAME = re.compile(r"\b[A-Za-z_]\w*\b")


@contextmanager
def reporting(where: str) -> Iterator[None]:
    """Turn what Brian2 says of equation text into a ModelError."""
    try:
        yield
    except BrianObjectException as error:
        raise ModelError(where, _plain(error.__cause__ or error)) from error
    except (b2.DimensionMismatchError, EquationError, SyntaxError) as error:
        raise ModelError(where, _plain(error)) from error


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split())


def dimension_of(variable) -> Dimension:
    """Return the dimension of a variable, an equation or a quantity of Brian2's."""
    return tuple(int(d) if d == int(d) else d for d in variable.dim._dims)


def brian_quantity(quantity: Quantity) -> float | BrianQuantity:
    """Return a quantity of a file as Brian2's."""
    if not any(quantity.dimensions):
        return quantity.value
    return BrianQuantity.with_dimensions(
        quantity.value, get_or_create_dimension(quantity.dimensions))


def lines_of(model, lines: Iterable[grammar.Equation]) -> dict[str, str]:
    """Return {variable: line} of parsed equations, the model's functions put in."""
    parsed = list(lines)
    return {eq.name: line for eq, line in zip(parsed, equation_lines(model, parsed), strict=True)}


def statements_of(model, texts: Iterable[str], key: str) -> list[tuple[grammar.Statement, str]]:
    """Return the statements of a model in their order, each parsed and as text."""
    parsed = grammar.statements(tuple(texts), f"{model.label}: {key}", model.definitions)
    return [(s, statement_text(model, s)) for s in parsed]


def start(value: object, model) -> str:
    """Return a start value of a file, a quantity or an expression, as Brian2 reads it."""
    try:
        quantity = parse(value)
    except ValueError:
        return grammar.write(model.expression(value, "initial"))
    unit = unit_text(quantity.dimensions)
    return repr(quantity.value) if unit == "1" else f"{quantity.value!r}*{unit}"


def rename(text: str, names: Mapping[str, str]) -> str:
    """Rename variables in equation or statement text, all at once (``x`` also in ``dx/dt``)."""
    def new_name(match: re.Match[str]) -> str:
        word = match[0]
        if word.startswith("d") and match.string.startswith("/dt", match.end()):
            return f"d{names.get(word[1:], word[1:])}"
        return names.get(word, word)

    return NAME.sub(new_name, text)


def constant(name: str, quantity: Quantity) -> str:
    """Return the line that declares a parameter of a group."""
    return f"{name} : {unit_text(quantity.dimensions)} (constant, shared)"


def states(equations: b2.Equations) -> list[str]:
    """Return the names of the differential equations."""
    return [name for name, eq in equations.items() if eq.type == DIFFERENTIAL_EQUATION]


def operations(equations: b2.Equations) -> int:
    """Return how many operators and calls evaluate all equations once."""
    trees = [ast.parse(equation.expr.code, mode="eval") for equation in equations.values()
             if equation.expr is not None]
    return sum(isinstance(node, ast.BinOp | ast.UnaryOp | ast.Compare | ast.Call)
               for tree in trees for node in ast.walk(tree))


def with_inputs(equations: b2.Equations, inputs: Mapping[str, Iterable[str]]) -> b2.Equations:
    """Declare the symbols that a socket sums, in the unit of the socket, unless they are defined.

    Parameters
    ----------
    equations : Equations
        Composed text of a cell.
    inputs : dict of str to list of str
        Socket variable: symbols that its generated line sums.
    """
    lines = [SingleEquation(PARAMETER, symbol, equations[socket].dim)
             for socket, symbols in inputs.items() for symbol in symbols
             if symbol not in equations]
    return b2.Equations([*equations.values(), *lines])


def clampable(equations: b2.Equations, voltage: str) -> b2.Equations:
    """Multiply a voltage's derivative by ``free_VOLTAGE``: 1 frees the state, 0 holds it."""
    eq = equations[voltage]
    held = Expression(f"free_{voltage}*({eq.expr.code})")
    line = SingleEquation(eq.type, voltage, eq.dim, eq.var_type, held, eq.flags)
    return replaced(equations, b2.Equations([line])) + b2.Equations(f"free_{voltage} : 1")


def per_unit(equations: b2.Equations, names: Iterable[str]) -> b2.Equations:
    """Let parameters that are shared by a group have a value for each unit."""
    own = [SingleEquation(PARAMETER, name, equations[name].dim, flags=["constant"])
           for name in names]
    return replaced(equations, b2.Equations(own)) if own else equations


def replaced(equations: b2.Equations, new: b2.Equations) -> b2.Equations:
    """Put equations in the place of those of the same name."""
    kept = [eq for name, eq in equations.items() if name not in new]
    return b2.Equations([*kept, *new.values()])


def reached(equations: b2.Equations, name: str) -> set[str]:
    """Return what a variable depends on in the same instant: itself, and through subexpressions."""
    found: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        if current not in found:
            found.add(current)
            if current in equations and equations[current].type == SUBEXPRESSION:
                todo.extend(equations[current].identifiers)
    return found
