"""From the equations of a cell to the source of its kernel: names become array elements.

Nothing is described a second time: what comes in are the syntax trees of the composed equations
that Brian2 would compile, with everything that is attached to the sockets.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dfc_neuro.errors import EngineError
from dfc_neuro.files import text as grammar
from dfc_neuro.files import units
from dfc_neuro.files.trees import rebuilt

METHODS = {  # when each stage is, and what it counts
    "euler": ((0.0,), (1.0,)),
    "rk2": ((0.0, 0.5), (0.0, 1.0)),
    "rk4": ((0.0, 0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
OURS = ("exp", "expm1", "exprel", "log", "tanh")  # of _functions.py
NAMED = {"abs": "abs", "floor": "math.floor", "ceil": "math.ceil", "arcsin": "math.asin",
         "arccos": "math.acos", "arctan": "math.atan"}
NAMED |= {name: f"f.{name}" for name in OURS}
NAMED |= {name: f"math.{name}"
          for name in ("cos", "cosh", "log10", "log1p", "sin", "sinh", "sqrt", "tan")}
INSTEAD = "set numerics.target = \"auto\""
SMALL = 10  # states up to which a block of 64 cells stays in the first-level cache


@dataclass(frozen=True)
class Text:
    """The equations of one population.

    Parameters
    ----------
    differential, algebraic : dict of name to tree
        dx/dt, and x of the same instant.
    own, shared : sequence of str
        Variables with a value for each cell, and constants of all cells.
    above : tree, optional
        What is positive while a spike's condition holds.
    seen : sequence of str
        What is recorded.
    """

    differential: Mapping[str, ast.expr]
    algebraic: Mapping[str, ast.expr] = field(default_factory=dict)
    own: Sequence[str] = ()
    shared: Sequence[str] = ()
    above: ast.expr | None = None
    seen: Sequence[str] = ()


def distance(condition: ast.expr, where: str) -> ast.expr:
    """Return what is positive while a condition ``a > b`` or ``a < b`` holds."""
    if isinstance(condition, ast.Compare) and len(condition.ops) == 1:
        left, right = condition.left, condition.comparators[0]
        if isinstance(condition.ops[0], ast.Gt | ast.GtE):
            return ast.BinOp(left, ast.Sub(), right)
        if isinstance(condition.ops[0], ast.Lt | ast.LtE):
            return ast.BinOp(right, ast.Sub(), left)
    raise EngineError(where, f"target 'numba' cannot time '{grammar.write(condition)}'",
                      f"write one comparison, V > V_th, or {INSTEAD}")


def source(text: Text, method: str, where: str) -> str:
    """Return what fills the template ``_advance.py``.

    Parameters
    ----------
    text : Text
    method : {"rk4", "rk2", "euler"}
    where : str
        The cell's file, for messages.

    Raises
    ------
    EngineError
        If the equations hold what these kernels cannot compute.
    """
    block = 64 if len(text.differential) <= SMALL else 32
    nodes, weights = METHODS[method]
    head = (f"BLOCK, STATES, OWN, SEEN = {block}, {len(text.differential)}, {len(text.own)}, "
            f"{len(text.seen)}\nNODES, WEIGHTS = {nodes}, {weights}\n")
    threshold = text.above if text.above is not None else ast.Constant(-1.0)
    seen: list[ast.expr] = [ast.Name(name) for name in text.seen]
    parts = [_function("derivative", list(text.differential.values()), text, where),
             _function("above", [threshold], text, where),
             _function("seen", seen, text, where)]
    return "\n\n".join([head, *parts])


def _function(name: str, results: Sequence[ast.expr], text: Text, where: str) -> str:
    """Return a function that computes expressions for a block of cells."""
    needed = _needed(results, text)
    lines = ["@njit(**options)", f"def {name}(y, own, shared, t, out):"]
    lines += [f"    {_local(n)} = shared[{k}]" for k, n in enumerate(text.shared) if n in needed]
    lines.append("    for i in range(BLOCK):")
    for array, names in (("y", list(text.differential)), ("own", list(text.own))):
        lines += [f"        {_local(n)} = {array}[{k} * BLOCK + i]"
                  for k, n in enumerate(names) if n in needed]
    lines += [f"        {_local(n)} = {_written(text.algebraic[n], text, where)}"
              for n in needed if n in text.algebraic]
    lines += [f"        out[{k} * BLOCK + i] = {_written(tree, text, where)}"
              for k, tree in enumerate(results)] or ["        pass"]
    return "\n".join(lines)


def _local(name: str) -> str:
    return f"v_{name}"


def _needed(results: Iterable[ast.expr], text: Text) -> list[str]:
    """Return all names that expressions read, each after those that it follows from."""
    order: list[str] = []

    def visit(tree: ast.expr) -> None:
        for name in sorted(grammar.names(tree)):
            if name in order:
                continue
            if name in text.algebraic:
                visit(text.algebraic[name])
            order.append(name)

    for tree in results:
        visit(tree)
    return order


def _written(tree: ast.expr, text: Text, where: str) -> str:
    """Return an expression over a cell's local variables."""
    known = {*text.differential, *text.algebraic, *text.own, *text.shared}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) \
                and node.func.id not in (*NAMED, "int", "sign", "clip"):
            raise EngineError(where, f"target 'numba' does not compute {node.func.id}()", INSTEAD)

    def change(node: ast.expr) -> ast.expr | None:
        match node:
            case ast.Name(name):
                return _name(name, known, where)
            case ast.Constant(bool() as value):
                return ast.Constant(value)
            case ast.Constant(int() | float() as value):
                return ast.Constant(float(value))
            case ast.BinOp(base, ast.Pow(), power):
                return _power(rebuilt(base, change), ast.literal_eval(power))
            case ast.Call(ast.Name("int"), [ast.Compare() | ast.BoolOp() as condition], []):
                return _choice(rebuilt(condition, change), ast.Constant(1.0), ast.Constant(0.0))
            case ast.Call(ast.Name("sign"), [inner], []):
                x = rebuilt(inner, change)
                zero = ast.Constant(0.0)
                up = _choice(ast.Compare(x, [ast.Gt()], [zero]), ast.Constant(1.0), zero)
                return _choice(ast.Compare(x, [ast.Lt()], [zero]), ast.Constant(-1.0), up)
            case ast.Call(ast.Name("clip"), [x, low, high], []):
                inner = ast.Call(ast.Name("max"), [rebuilt(x, change), rebuilt(low, change)], [])
                return ast.Call(ast.Name("min"), [inner, rebuilt(high, change)], [])
            case ast.Call(ast.Name(name), arguments, []):
                function = ast.parse(NAMED[name], mode="eval").body
                return ast.Call(function, [rebuilt(a, change) for a in arguments], [])
        return None

    return grammar.write(rebuilt(tree, change))


def _name(name: str, known: set[str], where: str) -> ast.expr:
    if name in known:
        return ast.Name(_local(name))
    if name == "t":
        return ast.Name("t")
    if name in grammar.CONSTANTS:
        return ast.parse(repr(grammar.CONSTANTS[name]), mode="eval").body
    if name in units.table():
        return ast.Constant(units.table()[name][0])
    raise EngineError(where, f"target 'numba' does not know '{name}'",
                      INSTEAD)


def _power(base: ast.expr, exponent: float) -> ast.expr:
    """Return a power: whole ones become products."""
    if exponent == int(exponent):
        return ast.BinOp(base, ast.Pow(), ast.Constant(int(exponent)))
    return ast.Call(ast.parse("f.power", mode="eval").body, [base, ast.Constant(exponent)], [])


def _choice(condition: ast.expr, yes: ast.expr, no: ast.expr) -> ast.expr:
    return ast.IfExp(condition, yes, no)
