"""Stop a run whose numbers blow up, naming cell, compartment and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import brian2 as b2
import numpy as np

from dfc_neuro.brian import device
from dfc_neuro.brian.build import Built
from dfc_neuro.brian.text import dimension_of, states
from dfc_neuro.errors import NumericalError
from dfc_neuro.files.units import unit_text

EVERY = 10  # steps between two looks
BOUNDS = {"volt": 1.0, "1": 1e6}  # largest voltage, in SI units


@dataclass(frozen=True)
class Wording:
    """How a message counts time, and what it advises."""

    second: float = 1e3
    unit: str = "ms"
    remedy: str = "lower numerics.dt, or the stimulus"


def guard(built: Built, labels: Sequence[str], bound: float | None,
          wording: Wording = Wording()) -> b2.NetworkOperation:
    """Return an operation that raises NumericalError when a state leaves its bounds.

    Parameters as in `watch`.
    """
    look = watch(built, labels, bound, wording)
    dt = float(built.clock.dt)

    def operation() -> None:
        now = float(built.clock.variables["t"].get_value()[0]) + dt  # where the step has led
        look(max(0.0, now - EVERY * dt), now)

    clock = device.clock(EVERY * dt, "guard")
    return b2.NetworkOperation(operation, clock=clock, when="end", name="guard")


def watch(built: Built, labels: Sequence[str], bound: float | None,
          wording: Wording = Wording()) -> Callable[[float, float], None]:
    """Return what raises NumericalError when a state has left its bounds between two times.

    Parameters
    ----------
    built : Built
    labels : sequence of str
        What the replicas are: "condition BAC".
    bound : float, optional
        Largest magnitude of a state in the unit of the cell's voltages, in SI units; 1 V, or 1e6
        where voltages are plain numbers, if not given.  Other states must be finite.
    wording : Wording, optional
    """
    looks = []
    for name, equations in built.equations.items():
        cell = built.scheme.cells.get(name)
        places = {c.voltage: key for key, c in cell.compartments.items()} if cell else {}
        voltages = {equations[v].dim for v in places}
        for state in states(equations):
            unit = unit_text(dimension_of(equations[state]))
            limit = (bound or BOUNDS.get(unit, np.inf)) if equations[state].dim in voltages \
                else np.inf
            looks.append((name, state, places.get(state), limit, built.array(name, state)))

    def look(since: float, now: float) -> None:
        for name, state, compartment, limit, values in looks:
            inside = np.abs(values) <= limit if np.isfinite(limit) else np.isfinite(values)
            if not inside.all():
                index = int(np.flatnonzero(~inside)[0])
                what = f"passed {limit:g}" if np.isfinite(values[index]) else "is not finite"
                raise NumericalError(f"{_place(built, labels, name, state, compartment, index)} "
                                     f"{what} between {since * wording.second:.6g} and "
                                     f"{now * wording.second:.6g} {wording.unit}; "
                                     f"{wording.remedy}")

    return look


def _place(built: Built, labels: Sequence[str], name: str, state: str, compartment: str | None,
           index: int) -> str:
    n = built.scheme.sizes[name]
    model = built.scheme.cells.get(name) or built.scheme.controllers[name]
    inside = f"{compartment} compartment of " if compartment else ""
    replica = f", {labels[index // n]}" if len(labels) > 1 else ""
    return f"{model.label}: {state} ({inside}unit {index % n} of '{name}'{replica})"
