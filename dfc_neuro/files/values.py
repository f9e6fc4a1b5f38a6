"""Types of single values in a file: quantities, texts, weights; each says what is allowed."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator

from dfc_neuro.files import units


def _quantity(value: object) -> object:
    units.parse(value)
    return value


def _text_or_texts(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise ValueError(f"found {value!r}, a text or a list of texts is needed")


def _number_or_text(value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise ValueError(f"found {value!r}, a finite number or a text is needed")


def _weights(value: object) -> object:
    if isinstance(value, dict):
        if not isinstance(value.get("name"), str):
            raise ValueError("a table of weights needs a name: w = { name = \"...\" }")
        return value
    return _number_or_text(value)


def _connect(value: object) -> object:
    if value in ("all", "one_to_one"):
        return value
    if isinstance(value, dict) and set(value) == {"probability"}:
        p = value["probability"]
        if isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1:
            return value
    raise ValueError(f'found {value!r}, allowed "all", "one_to_one" or '
                     "{ probability = 0...1 }")


def _read(value: object) -> object:
    if value is True:
        return value
    if not isinstance(value, str):
        raise ValueError(f"found {value!r}, a unit such as \"1\" or \"volt\" is needed "
                         "(true for spikes)")
    units.dimension(value)
    return value


Value = Annotated[Any, BeforeValidator(_quantity)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_text_or_texts)]
Start = Annotated[Any, BeforeValidator(_number_or_text)]
Weights = Annotated[Any, BeforeValidator(_weights)]
RuleName = Annotated[str | None, BeforeValidator(lambda v: None if v == "none" else v)]
Connect = Annotated[Any, BeforeValidator(_connect)]
Read = Annotated[Any, BeforeValidator(_read)]
