"""Types of single values in a file: quantities, texts, weights; each says what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from dfc_neuro.files import units
from dfc_neuro.files.units import unit_text


def _quantity(value: object) -> object:
    units.parse(value)
    return value


def _text_or_texts(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise ValueError(f"found {value!r}, a text or a list of texts is needed")


def _number(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise ValueError(f"found {value!r}, a finite number is needed")


def _number_or_text(value: object) -> object:
    if isinstance(value, str):
        return value
    try:
        return _number(value)
    except ValueError:
        raise ValueError(f"found {value!r}, a finite number or a text is needed") from None


def _weights(value: object) -> object:
    if isinstance(value, dict):
        if isinstance(value.get("like"), str) and set(value) <= {"like", "times", "transpose"}:
            _number(value.get("times", 1))
            if not isinstance(value.get("transpose", False), bool):
                raise ValueError(f"found transpose = {value['transpose']!r}, true or false")
        elif not isinstance(value.get("name"), str):
            raise ValueError("a table of weights needs a name: w = { name = \"...\" }, or "
                             "{ like = \"PROJECTION\", times = -1 }")
        return value
    return _number_or_text(value)


_RULES = ('"all", "one_to_one", { probability = 0...1 } or { in_degree = n }; with a probability '
          'also distance = "gaussian" or "exponential" and length = "100 um"; with either '
          'autapses = false')


def _connect(value: object) -> object:
    if value in ("all", "one_to_one"):
        return value
    problem = ValueError(f"found {value!r}, allowed {_RULES}")
    if not isinstance(value, dict) or ("probability" in value) == ("in_degree" in value):
        raise problem
    known = {"probability", "distance", "length"} if "probability" in value else {"in_degree"}
    for key in value:
        if key not in (known | {"autapses"}):
            raise ValueError(f"unknown key '{key}', allowed {_RULES}")
    p, k = value.get("probability", 0), value.get("in_degree", 1)
    if (isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1
            or isinstance(k, bool) or not isinstance(k, int) or k < 1
            or not isinstance(value.get("autapses", True), bool)
            or ("distance" in value) != ("length" in value)
            or value.get("distance", "gaussian") not in ("gaussian", "exponential")):
        raise problem
    if "length" in value:
        _length(value["length"])
    return value


def _length(value: object) -> None:
    quantity = units.parse(value)
    if quantity.dimensions != units.dimension("metre") or quantity.value <= 0:
        raise ValueError(f"found {value!r}, a positive length such as \"100 um\" is needed")


def _extent(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) > 3:
        raise ValueError(f"found {value!r}, one to three lengths are needed")
    for side in value:
        _length(side)
    return tuple(value)


def _read(value: object) -> object:
    if value is True:
        return value
    if not isinstance(value, str):
        raise ValueError(f"found {value!r}, a unit such as \"1\" or \"volt\" is needed "
                         "(true for spikes)")
    units.dimension(value)
    return value


def _in(unit: str, or_number: bool = False) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, str) and "{" in value:
            return value  # a placeholder; the condition's value is checked in its place
        quantity = units.parse(value)
        allowed = [units.dimension(unit)] + ([units.DIMENSIONLESS] if or_number else [])
        if quantity.dimensions not in allowed:
            raise ValueError(f"found {value!r} in {unit_text(quantity.dimensions)}, "
                             f"{unit} is needed")
        return value
    return check


def _duration(value: object) -> object:
    if value == "auto":
        return value
    _in("second")(value)
    if units.parse(value).value <= 0:
        raise ValueError(f"found {value!r}, a duration is positive")
    return value


def _step(value: object) -> object:
    _in("second", or_number=True)(value)
    if units.parse(value).value <= 0:
        raise ValueError(f"found {value!r}, a time step is positive")
    return value


def _any_quantity(value: object) -> object:
    if not (isinstance(value, str) and "{" in value):
        units.parse(value)
    return value


def _plain(value: object) -> object:
    """Accept what TOML scalars, lists and tables are made of."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"found {value!r}, allowed: finite numbers, texts, true, false, lists, tables")


Value = Annotated[Any, BeforeValidator(_quantity)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_text_or_texts)]
Start = Annotated[Any, BeforeValidator(_number_or_text)]
Weights = Annotated[Any, BeforeValidator(_weights)]
RuleName = Annotated[str | None, BeforeValidator(lambda v: None if v == "none" else v)]
Connect = Annotated[Any, BeforeValidator(_connect)]
Extent = Annotated[tuple[Any, ...], BeforeValidator(_extent)]
Read = Annotated[Any, BeforeValidator(_read)]
Time = Annotated[Any, BeforeValidator(_in("second"))]
Duration = Annotated[Any, BeforeValidator(_duration)]
Step = Annotated[Any, BeforeValidator(_step)]
Level = Annotated[Any, BeforeValidator(_any_quantity)]
Plain = Annotated[Any, BeforeValidator(_plain)]
Keys = dict[str, Plain]
Method = Literal["euler", "rk2", "rk4", "heun", "exponential_euler"]
