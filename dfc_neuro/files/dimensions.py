"""Units of expressions, and the value of those that read constants only.

The rules are Brian2's: terms of a sum and sides of a comparison agree, arguments of ``exp`` and
its like are plain numbers.  ``None`` stands for a unit that is not known yet and fits everywhere.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

from dfc_neuro.files import units
from dfc_neuro.files.text import CLOCK, CONSTANTS, names, write
from dfc_neuro.files.units import DIMENSIONLESS, Dimension, unit_text

Known = Mapping[str, Dimension | None]

_SAME = {"abs", "floor", "ceil"}
_ANY_TO_NUMBER = {"sign"}
_SECOND: Dimension = (0, 0, 1, 0, 0, 0, 0)


def _agree(a: Dimension | None, b: Dimension | None, left: ast.expr, right: ast.expr,
           what: str) -> Dimension | None:
    if a is None or b is None:
        return b if a is None else a
    if a != b:
        raise ValueError(f"{what} '{_short(left)}' ({unit_text(a)}) and '{_short(right)}' "
                         f"({unit_text(b)}) have different units")
    return a


def _short(node: ast.expr) -> str:
    text = write(node)
    return text if len(text) <= 50 else text[:47] + "..."


def _number(node: ast.expr, known: Known, what: str) -> Dimension:
    found = dimension(node, known)
    if found not in (None, DIMENSIONLESS):
        assert found is not None
        raise ValueError(f"{what} must be a plain number, '{_short(node)}' is in "
                         f"{unit_text(found)}")
    return DIMENSIONLESS


def _name(name: str, known: Known) -> Dimension | None:
    if name in known:
        return known[name]
    if name in CLOCK:
        return _SECOND
    if name in CONSTANTS:
        return DIMENSIONLESS
    return units.table()[name][1]


def _call(name: str, arguments: list[ast.expr], known: Known) -> Dimension | None:
    if name in _SAME:
        return dimension(arguments[0], known)
    if name == "sqrt":
        found = dimension(arguments[0], known)
        return None if found is None else units.raised(found, 0.5)
    if name == "clip":
        found = dimension(arguments[0], known)
        for bound in arguments[1:]:
            found = _agree(found, dimension(bound, known), arguments[0], bound, "in clip,")
        return found
    if name == "timestep":
        for argument in arguments:
            _agree(_SECOND, dimension(argument, known), ast.Name("second"), argument,
                   "in timestep,")
        return DIMENSIONLESS
    for argument in arguments:
        if name in _ANY_TO_NUMBER:
            dimension(argument, known)
        else:
            _number(argument, known, f"the argument of {name}()")
    return DIMENSIONLESS


def dimension(node: ast.expr, known: Known) -> Dimension | None:
    """Return the dimension of an expression.

    Parameters
    ----------
    node : ast.expr
        A tree that `text.expression` accepted, with its functions inlined.
    known : mapping
        The dimension of each name, None where it is not known.

    Raises
    ------
    ValueError
        If the units do not fit; the message names the two terms.
    """
    match node:
        case ast.Constant():
            return DIMENSIONLESS
        case ast.Name(name):
            return _name(name, known)
        case ast.UnaryOp(_, operand):
            return dimension(operand, known)
        case ast.BinOp(left, ast.Pow(), right):
            found = dimension(left, known)
            return None if found is None else units.raised(found, evaluate(right, {}))
        case ast.BinOp(left, ast.Mult() | ast.Div() as op, right):
            a, b = dimension(left, known), dimension(right, known)
            if a is None or b is None:
                return None
            return units.product(a, b, 1 if isinstance(op, ast.Mult) else -1)
        case ast.BinOp(left, _, right):
            a, b = dimension(left, known), dimension(right, known)
            return _agree(a, b, left, right, "the terms")
        case ast.Compare(left, _, [right]):
            _agree(dimension(left, known), dimension(right, known), left, right, "the sides")
            return DIMENSIONLESS
        case ast.BoolOp(_, values):
            for value in values:
                _number(value, known, "a side of and/or")
            return DIMENSIONLESS
        case ast.Call(ast.Name(name), arguments):
            return _call(name, arguments, known)
    raise ValueError(f"cannot find the unit of '{_short(node)}'")


def unknown_names(node: ast.expr, known: Known) -> set[str]:
    """Return the names that are neither known, nor the clock, a constant or a unit."""
    table = units.table()
    return {name for name in names(node)
            if name not in known and name not in CLOCK and name not in CONSTANTS
            and name not in table}


_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}
_COMPARE: dict[type, Callable[[float, float], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "abs": abs, "arccos": math.acos, "arcsin": math.asin, "arctan": math.atan, "ceil": math.ceil,
    "clip": lambda x, low, high: min(max(x, low), high), "cos": math.cos, "cosh": math.cosh,
    "exp": math.exp, "expm1": math.expm1,
    "exprel": lambda x: math.expm1(x) / x if x else 1.0, "floor": math.floor, "int": int,
    "log": math.log, "log10": math.log10, "log1p": math.log1p,
    "sign": lambda x: float((x > 0) - (x < 0)), "sin": math.sin, "sinh": math.sinh,
    "sqrt": math.sqrt, "tan": math.tan, "tanh": math.tanh,
}


def evaluate(node: ast.expr, values: Mapping[str, float]) -> float:
    """Return the value, in SI units, of an expression of constants.

    Raises
    ------
    ValueError
        If it reads anything else, or has no finite value.
    """
    try:
        value = float(_evaluate(node, values))
    except (ZeroDivisionError, OverflowError):
        raise ValueError(f"'{_short(node)}' has no finite value") from None
    if not math.isfinite(value):
        raise ValueError(f"'{_short(node)}' has no finite value")
    return value


def _evaluate(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(bool() | int() | float() as value):
            return value
        case ast.Name(name):
            if name in values:
                return values[name]
            if name in CONSTANTS:
                return CONSTANTS[name]
            if name in units.table():
                return units.table()[name][0]
            raise ValueError(f"'{name}' is not a constant")
        case ast.UnaryOp(ast.USub(), operand):
            return -_evaluate(operand, values)
        case ast.UnaryOp(ast.UAdd(), operand):
            return _evaluate(operand, values)
        case ast.UnaryOp(ast.Not(), operand):
            return not _evaluate(operand, values)
        case ast.BinOp(left, op, right):
            result = _BINARY[type(op)](_evaluate(left, values), _evaluate(right, values))
            if isinstance(result, complex):
                raise ValueError(f"'{_short(node)}' has no real value")
            return result
        case ast.Compare(left, [op], [right]):
            return _COMPARE[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.BoolOp(op, parts):
            fold = all if isinstance(op, ast.And) else any
            return fold(_evaluate(part, values) for part in parts)
        case ast.Call(ast.Name(name), arguments) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_evaluate(a, values) for a in arguments))
    raise ValueError(f"'{_short(node)}' is not made of constants")
