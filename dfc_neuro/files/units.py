"""Quantities such as ``"30 nS"``: one small table of Brian2's unit names, without Brian2.

A dimension is a tuple of the seven exponents of metre, kilogram, second, ampere, kelvin, mole and
candela, in this order, which is Brian2's.  Values are in SI units.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from dfc_neuro.errors import ModelError

Dimension = tuple[float, ...]

DIMENSIONLESS: Dimension = (0, 0, 0, 0, 0, 0, 0)

_PREFIXES = {
    "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "Z": 21, "Y": 24,
    "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}
# name: exponents, power of ten of the name itself
_NAMES: dict[str, tuple[Dimension, int]] = {
    "meter": ((1, 0, 0, 0, 0, 0, 0), 0), "metre": ((1, 0, 0, 0, 0, 0, 0), 0),
    "gram": ((0, 1, 0, 0, 0, 0, 0), -3), "gramme": ((0, 1, 0, 0, 0, 0, 0), -3),
    "second": ((0, 0, 1, 0, 0, 0, 0), 0),
    "amp": ((0, 0, 0, 1, 0, 0, 0), 0), "ampere": ((0, 0, 0, 1, 0, 0, 0), 0),
    "mol": ((0, 0, 0, 0, 0, 1, 0), 0), "mole": ((0, 0, 0, 0, 0, 1, 0), 0),
    "molar": ((-3, 0, 0, 0, 0, 1, 0), 3),
    "hertz": ((0, 0, -1, 0, 0, 0, 0), 0),
    "newton": ((1, 1, -2, 0, 0, 0, 0), 0), "pascal": ((-1, 1, -2, 0, 0, 0, 0), 0),
    "joule": ((2, 1, -2, 0, 0, 0, 0), 0), "watt": ((2, 1, -3, 0, 0, 0, 0), 0),
    "coulomb": ((0, 0, 1, 1, 0, 0, 0), 0), "volt": ((2, 1, -3, -1, 0, 0, 0), 0),
    "farad": ((-2, -1, 4, 2, 0, 0, 0), 0), "ohm": ((2, 1, -3, -2, 0, 0, 0), 0),
    "siemens": ((-2, -1, 3, 2, 0, 0, 0), 0),
}
_ALONE: dict[str, tuple[Dimension, int]] = {  # names without prefixes
    "kelvin": ((0, 0, 0, 0, 1, 0, 0), 0),
    "kilogram": ((0, 1, 0, 0, 0, 0, 0), 0), "kilogramme": ((0, 1, 0, 0, 0, 0, 0), 0),
}
_SHORT = {  # standard symbols: long name
    "mV": "mvolt", "mA": "mamp", "uA": "uamp", "nA": "namp", "pA": "pamp",
    "nF": "nfarad", "uF": "ufarad", "pF": "pfarad", "nS": "nsiemens", "uS": "usiemens",
    "ms": "msecond", "us": "usecond",
    "Hz": "hertz", "kHz": "khertz", "MHz": "Mhertz",
    "mM": "mmolar", "uM": "umolar", "nM": "nmolar",
}
_METRE: Dimension = (1, 0, 0, 0, 0, 0, 0)
# symbols for quantities; equation text is Brian2's and has no such names
_SYMBOLS = {"s": "second", "V": "volt", "A": "amp", "S": "siemens", "F": "farad"}


@dataclass(frozen=True)
class Quantity:
    """A number with a dimension; `value` is in SI units, `text` is what the file says."""

    value: float
    dimensions: Dimension
    text: str


@cache
def table() -> dict[str, tuple[float, Dimension]]:
    """Return every unit name with its value in SI units and its dimension."""
    units: dict[str, tuple[float, Dimension]] = {}

    def add(name: str, dims: Dimension, exponent: int) -> None:
        for power, suffix in ((1, ""), (2, "2"), (3, "3")):
            units[name + suffix] = (10.0 ** (exponent * power), raised(dims, power))

    for name, (dims, exponent) in _NAMES.items():
        for prefix, more in _PREFIXES.items():
            add(prefix + name, dims, exponent + more)
    for name, (dims, exponent) in _ALONE.items():
        add(name, dims, exponent)
    for short, name in _SHORT.items():
        units[short] = units[name]
    for short, exponent in (("cm", -2), ("mm", -3), ("um", -6)):
        add(short, _METRE, exponent)
    return units


@cache
def quantity_table() -> dict[str, tuple[float, Dimension]]:
    """Return the unit names of quantities: `table`, and symbols such as ``s`` and ``mS``."""
    symbols = {prefix + symbol: table()[prefix + name]
               for symbol, name in _SYMBOLS.items() for prefix in ("", *"kmunpf")}
    return symbols | table()


def raised(dims: Dimension, power: float) -> Dimension:
    """Return the dimension of a quantity raised to a power."""
    return tuple(int(p) if (p := round(d * power, 9)) == int(p) else p for d in dims)


def product(a: Dimension, b: Dimension, sign: int = 1) -> Dimension:
    """Return the dimension of a product, or of a quotient with sign -1."""
    return tuple(x + sign * y for x, y in zip(a, b, strict=True))


_WRITTEN = ("volt", "amp", "siemens", "second", "hertz", "farad", "ohm", "metre", "coulomb",
            "joule", "watt", "kilogram", "mole", "kelvin")
_BASES = ("metre", "kilogram", "second", "amp", "kelvin", "mole", "candle")


def unit_text(dims: Dimension) -> str:
    """Return a dimension as unit text that Brian2 reads: ``siemens``, ``amp/volt**2``, ..."""
    if dims == DIMENSIONLESS:
        return "1"
    units = table()
    for name in _WRITTEN:
        if units[name][1] == dims:
            return name
    for name in _WRITTEN:
        for power in (1, 2):
            if raised(units[name][1], -power) == dims:
                return f"1/{name}" + (f"**{power}" if power > 1 else "")
    for upper in ("volt", "amp", "siemens", "hertz", "mole"):
        for lower in ("second", "volt", "metre**2", "metre", "farad", "volt**2", "metre**3"):
            base, _, exponent = lower.partition("**")
            below = raised(units[base][1], int(exponent or 1))
            if product(units[upper][1], below, -1) == dims:
                return f"{upper}/{lower}"
    factors = [name if p == 1 else f"{name}**{p:g}" for name, p in zip(_BASES, dims, strict=True)
               if p]
    return "*".join(factors)


def _power(node: ast.expr) -> float:
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1.0, node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value <= 16:
        return sign * float(node.value)
    raise ValueError("a power must be a number of at most 16")


def _walk(node: ast.expr, units: Mapping[str, tuple[float, Dimension]]
          ) -> tuple[float, Dimension]:
    match node:
        case ast.Name(name):
            if name not in units:
                similar = difflib.get_close_matches(name, units, n=1)
                raise ValueError(f"unknown unit '{name}'"
                                 + (f", did you mean '{similar[0]}'?" if similar else ""))
            return units[name]
        case ast.Constant(int() | float() as value):
            return float(value), DIMENSIONLESS
        case ast.BinOp(left, ast.Mult(), right):
            (a, da), (b, db) = _walk(left, units), _walk(right, units)
            return a * b, product(da, db)
        case ast.BinOp(left, ast.Div(), right):
            (a, da), (b, db) = _walk(left, units), _walk(right, units)
            if b == 0:
                raise ValueError("a unit cannot be divided by zero")
            return a / b, product(da, db, -1)
        case ast.BinOp(left, ast.Pow(), right):
            (a, da), power = _walk(left, units), _power(right)
            return a ** power, raised(da, power)
    raise ValueError("a unit is names with *, /, ** and parentheses")


@cache
def _expression(text: str, in_text: bool) -> tuple[float, Dimension]:
    if len(text) > 200 or text.count("(") > 20:
        raise ValueError("the unit is too long")
    if not re.fullmatch(r"[A-Za-z0-9_ .*/()+-]+", text):
        raise ValueError("a unit is names with *, /, ** and parentheses")
    try:
        return _walk(ast.parse(text.strip(), mode="eval").body,
                     table() if in_text else quantity_table())
    except (SyntaxError, OverflowError, RecursionError, MemoryError, ZeroDivisionError):
        raise ValueError("a unit is names with *, /, ** and parentheses") from None


_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)


def parse(value: object) -> Quantity:
    """Return a number or a text such as ``"20 ms"`` as a Quantity.

    Raises
    ------
    ValueError
        With what is wrong, and an example.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"found {value}, a finite number is needed")
        return Quantity(float(value), DIMENSIONLESS, repr(value))
    if not isinstance(value, str):
        raise ValueError(f"found {value!r}, a number or a quantity such as \"20 ms\" is needed")
    match = _NUMBER.fullmatch(value)
    if not match:
        shown = value if len(value) < 60 else value[:60] + "..."
        raise ValueError(f"found '{shown}', a number or a quantity such as \"20 ms\" is needed")
    number, rest = float(match[1]), match[2].strip()
    if not rest:
        factor, dims = 1.0, DIMENSIONLESS
    else:
        try:
            factor, dims = _expression("1" + rest if rest[0] in "*/" else rest, False)
        except ValueError as error:
            raise ValueError(f"found '{value}': {error}") from None
    if not math.isfinite(number * factor):
        raise ValueError(f"found '{value}', a finite number is needed")
    return Quantity(number * factor, dims, value)


def quantity(value: object, where: str) -> Quantity:
    """Return a number or a text such as ``"20 ms"`` as a Quantity; `where` names its place.

    Raises
    ------
    ModelError
        If it is neither.
    """
    try:
        return parse(value)
    except ValueError as error:
        raise ModelError(where, str(error)) from None


def dimension(text: str) -> Dimension:
    """Return the dimension of a unit text such as ``amp/metre**2``.

    Raises
    ------
    ValueError
        If it is no unit or not in base units of SI (``volt``, not ``mV``), as Brian2 asks of an
        equation.
    """
    factor, dims = _expression(text.strip(), True)
    if factor != 1.0:
        raise ValueError(f"the unit '{text.strip()}' has a scale; write '{unit_text(dims)}'")
    return dims
