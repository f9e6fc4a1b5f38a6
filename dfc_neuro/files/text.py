"""The grammar of equation text: a whitelist over Python's syntax tree.

What passes becomes code that Brian2 and Numba compile on the user's machine, so nothing passes
that is not arithmetic on names: no attributes, subscripts, strings, lambdas, comprehensions or
assignments inside expressions, no unknown functions, no powers but literal ones, and limits on
length and depth.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dfc_neuro.errors import ModelError, near
from dfc_neuro.files import units
from dfc_neuro.files.trees import names as names
from dfc_neuro.files.trees import rebuilt, size
from dfc_neuro.files.trees import write as write

MAX_LENGTH, MAX_DEPTH, MAX_POWER, MAX_SIZE = 2000, 60, 16, 2000
MAX_LINES, MAX_FUNCTIONS = 200, 100

# name: number of arguments
FUNCTIONS = {
    "abs": 1, "arccos": 1, "arcsin": 1, "arctan": 1, "ceil": 1, "clip": 3, "cos": 1, "cosh": 1,
    "exp": 1, "expm1": 1, "exprel": 1, "floor": 1, "int": 1, "log": 1, "log10": 1, "log1p": 1,
    "poisson": 1, "rand": 0, "randn": 0, "relu": 1, "sign": 1, "sin": 1, "sinh": 1, "sqrt": 1,
    "tan": 1, "tanh": 1, "timestep": 2,
}
CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf}
CLOCK = ("t", "dt")
_RESERVED = {"i", "j", "N", "t", "dt", "xi", "lastspike", "not_refractory", "w", "V", "scale",
             "target"}
_CHARACTERS = re.compile(r"[A-Za-z0-9_\s.+\-*/%(),<>=!]*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.Pow)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


@dataclass(frozen=True)
class Equation:
    """One line of equations; `kind` is ``differential``, ``subexpression`` or ``parameter``.

    `tree` is the right side (None for a parameter), `unit` the text after the colon, `dims` its
    dimension, `flags` Brian2's flags, `line` counts from 1 within the text.
    """

    kind: str
    name: str
    tree: ast.expr | None
    unit: str
    dims: units.Dimension
    flags: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Statement:
    """One statement ``name op= expression``."""

    name: str
    operator: str
    tree: ast.expr


@dataclass(frozen=True)
class Function:
    """A one-line definition ``name(arguments) = expression``."""

    name: str
    arguments: tuple[str, ...]
    tree: ast.expr


def _shown(text: str, length: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[:length] + "..."


def _refuse_node(node: ast.AST, where: str) -> ModelError:
    kinds = {
        "Attribute": "an attribute (a dot after a name)", "Subscript": "an index in brackets",
        "Lambda": "a lambda", "Await": "await", "IfExp": "'if ... else'", "Tuple": "a tuple",
        "NamedExpr": "an assignment", "Starred": "a star", "GeneratorExp": "a comprehension",
    }
    what = kinds.get(type(node).__name__, f"'{_shown(ast.unparse(node), 30)}'")
    column = getattr(node, "col_offset", 0) + 1
    return ModelError(where, f"{what} at character {column} is not allowed in equation text",
                      "it holds names, numbers, + - * / % ** and known functions")


def _power_ok(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        node = node.operand
    return (isinstance(node, ast.Constant) and isinstance(node.value, int | float)
            and not isinstance(node.value, bool) and node.value <= MAX_POWER)


def _check(node: ast.expr, where: str, functions: Mapping[str, int], depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ModelError(where, f"the expression is nested deeper than {MAX_DEPTH}",
                         "split it into several lines")
    children: list[ast.expr]
    match node:
        case ast.Constant(bool() | int() | float() as value):
            if (isinstance(value, int) and abs(value) > 10**15) or not math.isfinite(value):
                raise ModelError(where, "a number is too large for floating point")
            return
        case ast.Name(name):
            if name.startswith("_") or "__" in name or len(name) > 60:
                raise ModelError(where, f"the name '{_shown(name, 30)}' is not allowed",
                                 "names start with a letter and hold no '__'")
            return
        case ast.BinOp(left, op, right) if isinstance(op, _OPERATORS):
            if isinstance(op, ast.Pow) and not _power_ok(right):
                raise ModelError(
                    where, f"the power '{_shown(ast.unparse(right), 30)}' is not allowed",
                    f"a power is a number of at most {MAX_POWER}; or write exp(y*log(x))")
            children = [left, right]
        case ast.UnaryOp(op, operand) if isinstance(op, ast.USub | ast.UAdd | ast.Not):
            children = [operand]
        case ast.BoolOp(_, values):
            children = values
        case ast.Compare(left, [op], [right]) if isinstance(op, _COMPARISONS):
            children = [left, right]
        case ast.Call(ast.Name(name), arguments, []):
            if name not in functions:
                raise ModelError(where, f"unknown function '{_shown(name, 30)}'",
                                 near(name, functions))
            if len(arguments) != functions[name]:
                raise ModelError(where, f"{name}() takes {functions[name]} arguments, "
                                        f"found {len(arguments)}")
            children = arguments
        case _:
            raise _refuse_node(node, where)
    for child in children:
        _check(child, where, functions, depth + 1)


def expression(text: object, where: str, functions: Mapping[str, Function] | None = None
               ) -> ast.expr:
    """Return the syntax tree of an expression that the grammar allows.

    Parameters
    ----------
    text : str
    where : str
        File and key, for the message.
    functions : mapping, optional
        The file's own one-line functions, beside Brian2's and ``relu``.

    Raises
    ------
    ModelError
        If the text is not in the grammar; it names the character.
    """
    if not isinstance(text, str) or not text.strip():
        raise ModelError(where, f"found {text!r}, an expression is needed")
    if len(text) > MAX_LENGTH:
        raise ModelError(where, f"the expression has {len(text)} characters, "
                                f"at most {MAX_LENGTH} are allowed", "split it into several lines")
    good = _CHARACTERS.match(text)
    assert good is not None
    if good.end() < len(text):
        raise ModelError(where, f"character {text[good.end()]!r} at position {good.end() + 1} of "
                                f"'{_shown(text)}' is not allowed in equation text")
    if text.count("(") > MAX_DEPTH * 4 or re.search(r"[-+~][\s+-]{40}", text):
        raise ModelError(where, "the expression has too many parentheses or signs")
    flat = " ".join(text.split())
    try:
        tree = ast.parse(flat, mode="eval").body
    except SyntaxError as error:
        raise ModelError(where, f"cannot read '{_shown(flat)}' near character "
                                f"{error.offset or 1}") from None
    except (RecursionError, MemoryError, ValueError):
        raise ModelError(where, "the expression is too deeply nested") from None
    own = {f.name: len(f.arguments) for f in (functions or {}).values()}
    _check(tree, where, FUNCTIONS | own)
    return tree


def check_name(name: str, where: str) -> None:
    """Refuse a name that Brian2 or this format needs for itself."""
    if not _NAME.fullmatch(name) or "__" in name or keyword.iskeyword(name) or len(name) > 60:
        raise ModelError(where, f"'{_shown(name, 40)}' cannot be a name",
                         "a name starts with a letter and holds letters, digits and '_'")
    taken = ("a reserved name" if name in _RESERVED or name.startswith("xi_") else
             "a unit" if name in units.table() else
             "a function" if name in FUNCTIONS else
             "a constant" if name in CONSTANTS else
             "a reserved ending" if name.endswith(("_pre", "_post", "_next")) else "")
    if taken:
        raise ModelError(where, f"'{name}' is {taken} and cannot be defined", "choose another name")


def _lines(text: str, where: str) -> list[tuple[int, str]]:
    """Join continuation lines inside parentheses; drop comments and empty lines."""
    if len(text) > 20000:
        raise ModelError(where, "the text has more than 20000 characters")
    done, pending, start, depth = [], "", 0, 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].rstrip()
        if not line.strip() and not depth:
            continue
        start = start if depth else number
        pending = f"{pending} {line.strip()}" if depth else line.strip()
        depth = pending.count("(") - pending.count(")")
        if depth < 0:
            raise ModelError(f"{where} line {number}", "a ')' too many")
        if not depth:
            done.append((start, pending))
    if depth:
        raise ModelError(f"{where} line {start}", "a '(' is not closed")
    if len(done) > MAX_LINES:
        raise ModelError(where, f"has {len(done)} lines, at most {MAX_LINES} are allowed")
    return done


_FLAGS = re.compile(r"\(\s*(unless refractory|constant|shared|constant over dt)\s*\)\s*$")
_LEFT = re.compile(r"(?:d([A-Za-z]\w*)/dt|([A-Za-z]\w*))\s*=(?!=)\s*(.+)")


def equations(text: str, where: str, functions: Mapping[str, Function] | None = None
              ) -> tuple[Equation, ...]:
    """Return the lines ``dx/dt = ... : unit``, ``x = ... : unit`` and ``x : unit`` of a text.

    Raises
    ------
    ModelError
        Naming the line.
    """
    found: list[Equation] = []
    for number, line in _lines(text, where):
        place = f"{where} line {number}"
        left, colon, unit = line.partition(":")
        if not colon or not unit.strip():
            raise ModelError(place, f"'{_shown(line)}' has no unit",
                             "end it with ' : volt' or ' : 1'")
        flag = _FLAGS.search(unit)
        unit = unit[:flag.start()] if flag else unit
        try:
            dims = units.dimension(unit)
        except ValueError as error:
            raise ModelError(place, str(error)) from None
        match = _LEFT.fullmatch(left.strip())
        if match:
            name, tree = match[1] or match[2], expression(match[3], place, functions)
            kind = "differential" if match[1] else "subexpression"
        elif _NAME.fullmatch(left.strip()):
            name, tree, kind = left.strip(), None, "parameter"
        else:
            raise ModelError(place, f"cannot read '{_shown(left)}'",
                             "write 'dx/dt = ... : unit', 'x = ... : unit' or 'x : unit'")
        check_name(name if name not in ("w", "V") else "x", place)
        if any(name == other.name for other in found):
            raise ModelError(place, f"'{name}' is defined twice")
        found.append(Equation(kind, name, tree, unit.strip(), dims,
                              (flag[1],) if flag else (), number))
    return tuple(found)


_STATEMENT = re.compile(r"([A-Za-z]\w*)\s*(\+=|-=|\*=|/=|=)(?!=)\s*(.+)")


def statements(text: str | list[str] | tuple[str, ...], where: str,
               functions: Mapping[str, Function] | None = None) -> tuple[Statement, ...]:
    """Return the statements ``x += ...`` of a text or a list of texts, in their order."""
    found = []
    if not isinstance(text, str) and len(text) > MAX_LINES:
        raise ModelError(where, f"has {len(text)} statements, at most {MAX_LINES} are allowed")
    for part in [text] if isinstance(text, str) else text:
        for _, line in _lines(part, where):
            for piece in filter(str.strip, line.split(";")):
                match = _STATEMENT.fullmatch(piece.strip())
                if not match:
                    raise ModelError(where, f"cannot read '{_shown(piece)}'",
                                     "write 'x += ...', 'x -= ...' or 'x = ...'")
                found.append(Statement(match[1], match[2],
                                       expression(match[3], where, functions)))
    return tuple(found)


def with_unit(text: str, where: str, functions: Mapping[str, Function] | None = None
              ) -> tuple[ast.expr, str, units.Dimension]:
    """Return tree, unit text and dimension of ``expression : unit``."""
    left, colon, unit = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not colon or not unit.strip():
        raise ModelError(where, f"found {_shown(repr(text))}, the unit is missing",
                         "write 'expression : unit', for instance 'v_soma : 1'")
    tree = expression(left, where, functions)
    try:
        return tree, unit.strip(), units.dimension(unit)
    except ValueError as error:
        raise ModelError(where, str(error)) from None


def definitions(table: Mapping[str, str], where: str) -> dict[str, Function]:
    """Return the one-line functions of a table ``"phi(x)" = "tanh(x)"``, by name."""
    heads: dict[str, tuple[str, tuple[str, ...], str]] = {}
    if len(table) > MAX_FUNCTIONS:
        raise ModelError(where, f"{len(table)} are defined, at most {MAX_FUNCTIONS} are allowed")
    for key, body in table.items():
        place = f'{where}."{key}"'
        match = re.fullmatch(r"([A-Za-z]\w*)\(\s*([A-Za-z]\w*(?:\s*,\s*[A-Za-z]\w*)*)\s*\)",
                             key.strip())
        if not match:
            raise ModelError(place, "cannot read the head of this function", 'write "phi(x)"')
        arguments = tuple(a.strip() for a in match[2].split(","))
        for name in (match[1], *arguments):
            check_name(name, place)
        if match[1] in heads or len(set(arguments)) < len(arguments):
            raise ModelError(place, "a name is defined twice")
        heads[match[1]] = (body, arguments, place)
    known = {name: Function(name, arguments, ast.Constant(0))
             for name, (_, arguments, _) in heads.items()}
    found = {name: Function(name, arguments, expression(body, place, known))
             for name, (body, arguments, place) in heads.items()}
    for name, (_, _, place) in heads.items():
        inline(ast.Call(ast.Name(name), [ast.Constant(0)] * len(heads[name][1]), []), found, place)
    return found


_RELU = ast.parse("0.5*(x + abs(x))", mode="eval").body


def inline(tree: ast.expr, functions: Mapping[str, Function], where: str,
           inside: tuple[str, ...] = ()) -> ast.expr:
    """Put the definitions of the file's functions, and of ``relu``, in the place of their calls.

    ``relu(x)`` becomes ``0.5*(x + abs(x))``, which keeps the unit of x.  Nodes that do not change
    are those of `tree`: change neither in place.

    Raises
    ------
    ModelError
        If a function calls itself, or the text grows beyond reason.
    """
    def put_in(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Call):
            return None
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name != "relu" and name not in functions:
            return None
        arguments = [rebuilt(a, put_in) for a in node.args]
        if name == "relu":
            return grown(_RELU, {"x": arguments[0]})
        if name in inside:
            raise ModelError(where, f"the function '{name}' calls itself")
        body = inline(functions[name].tree, functions, where, (*inside, name))
        return grown(body, dict(zip(functions[name].arguments, arguments, strict=True)))

    def grown(body: ast.expr, values: dict[str, ast.expr]) -> ast.expr:
        total = sum(size(values[n.id]) if isinstance(n, ast.Name) and n.id in values else 1
                    for n in ast.walk(body))
        if total > MAX_SIZE:
            raise ModelError(where, "the expression is too long once its functions are put in")
        return rebuilt(body, lambda n: values.get(n.id) if isinstance(n, ast.Name) else None)

    return rebuilt(tree, put_in)
