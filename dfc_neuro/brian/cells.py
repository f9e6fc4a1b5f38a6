"""NeuronGroups of cells, controllers and sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import brian2 as b2
import numpy as np
from brian2.equations.equations import DIFFERENTIAL_EQUATION

from dfc_neuro.brian.text import (
    brian_quantity,
    clampable,
    per_unit,
    replaced,
    reporting,
    start,
    statements_of,
    with_inputs,
)
from dfc_neuro.brian.wiring import Part
from dfc_neuro.errors import EngineError
from dfc_neuro.files import text as grammar
from dfc_neuro.files.compose import cell_text, controller_text

Array = np.ndarray


def composed(cell, sockets: Mapping[str, Sequence[str]]) -> b2.Equations:
    """Return a cell's composed text; what its sockets sum is declared as plain variables.

    Parameters
    ----------
    cell : Cell
    sockets : dict of compartment to list of str
        Symbols that each socket sums; a socket without any is zero.
    """
    full = {name: list(sockets.get(name, ())) for name in cell.compartments}
    with reporting(cell.label):
        return b2.Equations(cell_text(cell, full))


def equations_and_parameters(cell) -> tuple[b2.Equations, dict[str, object]]:
    """Return a cell for a NeuronGroup of one's own.

    Parameters
    ----------
    cell : Cell

    Returns
    -------
    equations : brian2.Equations
        The composed text; ``electrode_COMPARTMENT`` is what flows into each compartment, a
        variable to set or to sum synapses into, zero at first.
    parameters : dict of str to Quantity
        Parameters and derived formulas: set each as an attribute of the group, or give the
        dictionary to ``group.set_states``.
    """
    symbols = {name: [f"electrode_{name}"] for name in cell.compartments}
    equations = with_inputs(
        composed(cell, symbols), {cell.compartments[c].input: s for c, s in symbols.items()})
    return equations, {name: brian_quantity(q) for name, q in cell.constants.items()}


def cell_group(
    name: str,
    cell,
    size: int,
    sockets: Mapping[str, Sequence[str]],
    parts: Sequence[Part],
    bias: Sequence[str],
    held: Sequence[str],
    varied: Mapping[str, Array],
    method: str,
    clock: b2.Clock,
) -> tuple[b2.NeuronGroup, b2.Equations]:
    """Return the group of a population with its parameters and initial state set.

    Parameters
    ----------
    name : str
    cell : Cell
    size : int
        Units of all replicas.
    sockets : dict of compartment to list of str
        Symbols that each socket sums.
    parts : list of Part
        What links add to the text.
    bias : list of str
        Equations that take the place of the cell's own line.
    held : list of str
        Compartments that can be clamped.
    varied : dict of parameter to (replicas,)
        Parameters with a value for each replica, in SI units.
    method : str
    clock : Clock
    """
    equations = composed(cell, sockets)
    with reporting(cell.label):
        for part in parts:
            equations = equations + b2.Equations(part.text)
        equations = with_inputs(
            equations, {cell.compartments[c].input: symbols for c, symbols in sockets.items()})
        for line in bias:
            equations = replaced(equations, b2.Equations(line))
        equations = per_unit(equations, varied)
        voltages = [cell.compartments[compartment].voltage for compartment in held]
        for voltage in voltages:
            if equations[voltage].type != DIFFERENTIAL_EQUATION:
                raise EngineError(cell.label, f"'{voltage}' has no differential equation to hold",
                                  "clamp a compartment whose voltage has one")
            equations = clampable(equations, voltage)
        group = b2.NeuronGroup(size, equations, method=method, clock=clock, namespace={},
                               name=name, **_spiking(cell))
        values = dict(cell.constants)
        for part in parts:
            values |= part.constants
        for key, value in values.items():
            if key in varied:
                group.variables[key].set_value(
                    np.repeat(varied[key], size // len(varied[key])))
            else:
                setattr(group, key, brian_quantity(value))
        _release(group, cell)
        for voltage in voltages:
            group.variables[f"free_{voltage}"].set_value(np.ones(size))
        _start(group, cell)
    return group, equations


def _start(group: b2.NeuronGroup, model) -> None:
    for variable, value in model.initial.items():
        setattr(group, variable, start(value, model))


def _spiking(cell) -> dict[str, Any]:
    """Return threshold, reset and refractoriness as Brian2 takes them."""
    if cell.spike is None:
        return {}
    reset = statements_of(cell, cell.spike.reset, "spike.reset")
    options: dict[str, Any] = {
        "threshold": grammar.write(cell.expression(cell.spike.when, "spike.when")),
        "reset": "\n".join(line for _, line in reset),
    }
    if cell.refractory is not None:
        options["refractory"] = start(cell.refractory, cell)
    if cell.spike.release:
        # a spike counts from the start of its step, what follows it from the end
        options["refractory"] = f"{options['refractory']} + dt"
        options["events"] = {"release": f"timestep(t - lastspike, dt) == timestep("
                                        f"{options['refractory']}, dt)"}
    return options


def _release(group: b2.NeuronGroup, cell) -> None:
    """Let the statements of ``spike.release`` run first in the step that ends the dead time."""
    if cell.spike is not None and cell.spike.release:
        group.set_event_schedule("release", when="start")
        group.run_on_event("release", "\n".join(
            line for _, line in statements_of(cell, cell.spike.release, "spike.release")),
            when="before_groups")


def controller_group(
    name: str, controller, size: int, method: str, clock: b2.Clock,
    parts: Sequence[Part] = (),
) -> tuple[b2.NeuronGroup, b2.Equations]:
    """Return the group of a controller, one unit for each unit that it reads."""
    with reporting(controller.label):
        open_names = [*(f"{k} : {unit}" for k, unit in controller.reads.items()), "target : 1"]
        equations = b2.Equations("\n".join(
            [controller_text(controller), *open_names, *(part.text for part in parts)]))
        group = b2.NeuronGroup(size, equations, method=method, clock=clock, namespace={},
                               name=name)
        for key, value in controller.constants.items():
            setattr(group, key, brian_quantity(value))
        _start(group, controller)
    return group, equations


def source_group(
    name: str, kind: str, size: int, train: tuple[Array, Array] | None, clock: b2.Clock
) -> b2.Group:
    """Return a source of rates, whose ``rate`` is set from outside, or of given spikes."""
    if kind == "rate":
        return b2.NeuronGroup(size, "rate : 1", clock=clock, namespace={}, name=name)
    indices, times = train if train is not None else (np.zeros(0, int), np.zeros(0))
    return b2.SpikeGeneratorGroup(size, indices, times * b2.second, clock=clock, name=name)
