"""The points of a grid: which keys, which seed, where the result lies."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfc_neuro import registry
from dfc_neuro.errors import InputError
from dfc_neuro.files import resolve
from dfc_neuro.files.keys import parse_assignment
from dfc_neuro.files.protocols import LearningProtocol
from dfc_neuro.run import place

MOST_RUNS = 100_000


@dataclass(frozen=True)
class Point:
    """One run: its keys, its seed, its result file, and what is special about it."""

    keys: dict[str, Any]
    seed: int
    path: Path
    label: str

    @property
    def title(self) -> str:
        """Return what a message calls it."""
        return ", ".join(filter(None, (self.label, f"seed {self.seed}")))


def parse_over(text: str) -> tuple[str, list[Any]]:
    """Split ``KEY=V1,V2``, or ``KEY=[V1, V2]`` as TOML has it; bare words are texts.

    Raises
    ------
    InputError
        If there is no ``=``, no value, or a value twice.
    """
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key or not value:
        raise InputError("--over", f"found '{text}'", "write --over KEY=V1,V2")
    try:
        if value.startswith("["):
            values = parse_assignment(f"{key}={value}")[1]
        else:
            values = [parse_assignment(f"{key}={part}")[1] if part.strip() else None
                      for part in value.split(",")]
    except InputError as error:
        raise InputError(f"--over {key}", error.found, error.remedy) from None
    if not values or None in values:
        raise InputError(f"--over {key}", f"found '{value}'", "write --over KEY=V1,V2")
    if any(a == b and type(a) is type(b) for a, b in itertools.combinations(values, 2)):
        raise InputError(f"--over {key}", f"holds a value twice: '{value}'")
    return key, values


def points(protocol: str | Path, over: Mapping[str, Sequence[Any]], seeds: int | Sequence[int],
           keys: dict[str, Any], quick: bool, directory: Path) -> list[Point]:
    """Return every run of a grid once, in the order of the keys; seeds are innermost.

    Feedback weights are not varied for methods that need no trained ones: such runs, the same for
    each value of ``feedback``, are there once.

    Raises
    ------
    InputError
        For anything wrong in the protocol, at any point.
    """
    numbers = range(seeds) if isinstance(seeds, int) else seeds
    both = sorted(set(over) & set(keys))
    if both:
        raise InputError(f"--over {both[0]}", "is given to --set as well", "choose one of the two")
    for key, values in over.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InputError(f"over {key}", f"found {values!r}", "give a list of values")
    combinations = list(itertools.islice(itertools.product(*over.values()), MOST_RUNS + 1))
    if not 0 < len(combinations) * len(numbers) <= MOST_RUNS:
        raise InputError("--over, --seeds", f"make {len(combinations) * len(numbers)} runs or "
                         "more", f"give from 1 to {MOST_RUNS:,}")
    found: dict[Path, Point] = {}
    for values in combinations:
        chosen = dict(zip(over, values, strict=True))
        resolved = resolve.protocol(protocol, keys | chosen, quick=quick)
        if "feedback" in chosen and isinstance(resolved, LearningProtocol) \
                and not registry.get("methods", resolved.method, "method").USES_Q:
            del chosen["feedback"]
            resolved = resolve.protocol(protocol, keys | chosen, quick=quick)
        label = ", ".join(f"{_short(key)}={value}" for key, value in chosen.items())
        for seed in numbers:
            path = directory / place(resolved, int(seed)).name
            found.setdefault(path, Point(keys | chosen, int(seed), path, label))
    return list(found.values())


def _short(key: str) -> str:
    return key.rpartition(".")[2]
