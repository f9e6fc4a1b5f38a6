"""Stop a run whose numbers blow up, naming cell, compartment and time."""

from __future__ import annotations

from collections.abc import Sequence

import brian2 as b2
import numpy as np

from dfc_neuro.brian.build import Built
from dfc_neuro.brian.text import dimension_of, states
from dfc_neuro.errors import NumericalError
from dfc_neuro.files.units import unit_text

EVERY = 10  # steps between two looks
BOUNDS = {"volt": 1.0, "1": 1e6}  # largest voltage, in SI units


def guard(built: Built, labels: Sequence[str], bound: float | None) -> b2.NetworkOperation:
    """Return an operation that raises NumericalError when a state leaves its bounds.

    Parameters
    ----------
    built : Built
    labels : sequence of str
        Names of the replicas.
    bound : float, optional
        Largest magnitude of a state in the unit of the cell's voltages, in SI units; 1 V, or 1e6
        where voltages are plain numbers, if not given.  Other states must be finite.
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

    def look() -> None:
        for name, state, compartment, limit, values in looks:
            inside = np.abs(values) <= limit if np.isfinite(limit) else np.isfinite(values)
            if not inside.all():
                _fail(built, labels, name, state, compartment, limit,
                      int(np.flatnonzero(~inside)[0]), values)

    clock = b2.Clock(EVERY * built.clock.dt)
    return b2.NetworkOperation(look, clock=clock, when="end", name="guard")


def _fail(built: Built, labels: Sequence[str], name: str, state: str, compartment: str | None,
          limit: float, index: int, values: np.ndarray) -> None:
    n = built.scheme.sizes[name]
    model = built.scheme.cells.get(name) or built.scheme.controllers[name]
    where = f"{model.label}: {state}"
    where += f" ({compartment} compartment of unit {index % n} of '{name}'" if compartment else (
        f" (unit {index % n} of '{name}'")
    where += f", condition {labels[index // n]})" if len(labels) > 1 else ")"
    what = f"passed {limit:g}" if np.isfinite(values[index]) else "is not finite"
    time = float(built.clock.variables["t"].get_value()[0]) * 1e3
    step = float(built.clock.dt) * EVERY * 1e3
    raise NumericalError(f"{where} {what} between {max(0.0, time - step):.6g} and {time:.6g} ms; "
                         "lower numerics.dt, or the stimulus")
