"""Circuits: the shorthand ``layers``, and the models that a circuit names, checked together."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from dfc_neuro import registry
from dfc_neuro.errors import ModelError, near
from dfc_neuro.files import checks, library, schema, units
from dfc_neuro.files.load import load, read, validate
from dfc_neuro.files.units import DIMENSIONLESS, Dimension, unit_text

_TEMPLATE = "dfc_layered"


def expand(table: dict[str, Any], label: str) -> dict[str, Any]:
    """Return a circuit's table with ``layers = [n_0, ..., n_L]`` written out.

    Populations are input, hidden (or hidden1, hidden2, ...) and output, projections W1... and
    Q1...; each is a copy of the table's own entry for its place, or of dfc_layered's.
    """
    table = copy.deepcopy(table)
    layers = table.pop("layers", None)
    if layers is None:
        return table
    where = f"{label}: layers"
    if (not isinstance(layers, list | tuple) or len(layers) < 2
            or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in layers)):
        raise ModelError(where, f"found {layers!r}", "give at least two sizes, [64, 100, 10]")
    if not table.get("populations"):
        path = library.find(_TEMPLATE, ("circuit",), where)
        table = read(path) | {k: v for k, v in table.items() if k != "populations"}
    try:
        places = {name: table["populations"][name] for name in ("input", "hidden", "output")}
        drawn = {name: table["projections"][name] for name in ("W1", "W2", "Q1", "Q2")}
    except (KeyError, TypeError):
        raise ModelError(where, "the circuit is not layered: layers replaces the populations "
                                "input, hidden, output and the projections W1, W2, Q1, Q2",
                         "leave layers out, or run it on dfc_layered") from None
    depth = len(layers) - 1
    hidden = ["hidden"] if depth == 2 else [f"hidden{i}" for i in range(1, depth)]
    names = ["input", *hidden, "output"]
    populations = {name: {**places[re.sub(r"\d+$", "", name)], "n": n}
                   for name, n in zip(names, layers, strict=True)}
    projections = {}
    for i, name in enumerate(names[1:], 1):
        template = drawn["W2" if name == "output" else "W1"]
        source = f"{names[i - 1]}.{str(template['from']).partition('.')[2]}"
        projections[f"W{i}"] = template | {"from": source, "to": _moved(template["to"], name)}
    for i, name in enumerate(names[1:], 1):
        template = drawn["Q2" if name == "output" else "Q1"]
        projections[f"Q{i}"] = template | {"to": _moved(template["to"], name)}
    others = {"hidden", "W1", "W2", "Q1", "Q2", *populations, *projections}
    for key, made in (("populations", populations), ("projections", projections)):
        made |= {name: part for name, part in table[key].items() if name not in others}
    return table | {"populations": populations, "projections": projections}


def _moved(to: str, name: str) -> str:
    return f"{name}.{to.partition('.')[2]}"


def build_circuit(table: dict[str, Any], path: Path, label: str) -> schema.Circuit:
    """Validate a circuit, load the models it names and check that they fit together.

    Raises
    ------
    ModelError
        Naming the population, controller or projection.
    """
    circuit = validate(expand(table, label), path, label)
    assert isinstance(circuit, schema.Circuit)
    for name in {**circuit.populations, **circuit.controllers}:
        where = f"{label}: {name}"
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise ModelError(where, "a name holds letters, digits and '_'")
        if name in circuit.populations and name in circuit.controllers:
            raise ModelError(where, "is a population and a controller")
    _load_cells(circuit)
    _load_controllers(circuit)
    _load_rules(circuit)
    for name in circuit.projections:
        _check_projection(circuit, name)
    _check_biases(circuit)
    return circuit


def _changed(model: Any, changes: dict[str, dict[str, Any]], label: str) -> Any:
    """Return a model with other parameters or functions, validated again."""
    table = copy.deepcopy(model.source)
    for key, values in changes.items():
        if values:
            table[key] = {**table.get(key, {}), **values}
    return validate(table, model.path, label)


def _load_cells(circuit: schema.Circuit) -> None:
    beside = circuit.path.parent
    unused = set(circuit.cell_parameters)
    for name, population in circuit.populations.items():
        if population.cell is None:
            continue
        where = f"{circuit.label}: populations.{name}"
        cell = load(population.cell, "cell", where=f"{where}.cell", beside=beside)
        if population.cells_per_unit > 1 and cell.spike is None:
            raise ModelError(f"{where}.cells_per_unit", f"found {population.cells_per_unit}, but "
                             f"cell '{cell.name}' does not spike: its copies would be the same",
                             "leave it out")
        cell = _variant(cell, circuit, where)
        used = {key: value for key, value in circuit.cell_parameters.items()
                if key in cell.parameters}
        unused -= set(used)
        replaced = _replaced_functions(cell, population, where)
        if used or replaced:
            cell = _changed(cell, {"parameters": used, "functions": replaced},
                            f"{where} ({cell.name})")
        circuit._cells[name] = cell
    if unused:
        key = min(unused)
        known = {p for cell in circuit.cells.values() for p in (*cell.parameters, *cell.variants)}
        raise ModelError(f"{circuit.label}: cells.{key}", "no cell has this parameter",
                         near(key, known))


def _variant(cell: schema.Cell, circuit: schema.Circuit, where: str) -> schema.Cell:
    for key in circuit.cell_parameters:
        if key not in cell.parameters and key in cell.variants:
            return load(cell.variants[key], "cell", where=f"{cell.label}: variants.{key}",
                             beside=cell.path.parent)
    return cell


def _replaced_functions(cell: schema.Cell, population: schema.Population,
                        where: str) -> dict[str, str]:
    known = {key.partition("(")[0].strip(): key for key in cell.functions}
    replaced = {}
    for key, body in population.functions.items():
        name = key.partition("(")[0].strip()
        if name not in known:
            raise ModelError(f'{where}.functions."{key}"', f"cell '{cell.name}' has no such "
                             "function", near(name, known))
        replaced[known[name]] = body
        if _arguments(key) != _arguments(known[name]):
            raise ModelError(f'{where}.functions."{key}"', "the arguments differ from the cell's",
                             f'write "{known[name]}"')
        slope = f"d{name}"
        if slope in known and slope not in {k.partition("(")[0].strip()
                                            for k in population.functions}:
            raise ModelError(f'{where}.functions."{key}"', f"{name} is replaced without its slope",
                             f'replace "{known[slope]}" as well')
    return replaced


def _arguments(head: str) -> str:
    return head.partition("(")[2].replace(" ", "")


def _load_controllers(circuit: schema.Circuit) -> None:
    for name, use in circuit.controllers.items():
        where = f"{circuit.label}: controllers.{name}"
        model = load(use.model, "controller", where=f"{where}.model",
                          beside=circuit.path.parent)
        for key in use.settings:
            if key not in model.reads and key not in model.parameters:
                raise ModelError(f"{where}.{key}", f"unknown key '{key}'",
                                 near(key, {"model", *model.reads, *model.parameters}))
        for key, unit in model.reads.items():
            if key not in use.settings:
                raise ModelError(f"{where}.{key}", f"is missing: what '{model.name}' reads",
                                 f'for instance {key} = "output.rate"')
            found = _offered(circuit, str(use.settings[key]), f"{where}.{key}")
            if found != units.dimension(unit):
                raise ModelError(f"{where}.{key}", f"'{use.settings[key]}' is in "
                                 f"{unit_text(found)}, '{model.name}' reads {unit}")
        parameters = {k: v for k, v in use.settings.items() if k in model.parameters}
        circuit._controllers[name] = (
            _changed(model, {"parameters": parameters}, where) if parameters else model)


def _offered(circuit: schema.Circuit, reference: str, where: str) -> Dimension:
    """Return the unit of ``population.observable`` or ``controller.state``."""
    owner, dot, what = reference.partition(".")
    owners = {**circuit.populations, **circuit.controllers}
    if not dot or owner not in owners:
        raise ModelError(where, f"'{reference}' names no population or controller",
                         near(owner, owners))
    if owner in circuit.controllers:
        offers = circuit.controller_models[owner].offers
    elif owner in circuit.cells:
        offers = dict(circuit.cells[owner].offers)
        if circuit.cells[owner].spike is not None:
            offers["spikes"] = DIMENSIONLESS
    else:
        offers = {str(circuit.populations[owner].source): DIMENSIONLESS}
    if what not in offers:
        raise ModelError(where, f"'{owner}' offers no '{what}'", near(what, offers))
    return offers[what]


def _load_rules(circuit: schema.Circuit) -> None:
    unused = set(circuit.rule_parameters)
    for name, projection in circuit.projections.items():
        where = f"{circuit.label}: projections.{name}"
        if projection.rule is not None:
            rule = load(projection.rule, "rule", where=f"{where}.rule",
                             beside=circuit.path.parent)
            used = {k: v for k, v in circuit.rule_parameters.items() if k in rule.parameters}
            unused -= set(used)
            circuit._rules[name] = (_changed(rule, {"parameters": used}, f"{where} ({rule.name})")
                                    if used else rule)
        for key, wanted, found in (("synapse", "current", circuit._synapses),
                                   ("release", "release", circuit._releases)):
            if getattr(projection, key) is not None:
                found[name] = load_synapse(getattr(projection, key), wanted, f"{where}.{key}",
                                           circuit.path.parent)
    if unused:
        known = {p for rule in circuit.rules.values() for p in rule.parameters}
        raise ModelError(f"{circuit.label}: rules.{min(unused)}", "no rule has this parameter",
                         near(min(unused), known))


def load_synapse(name: str, key: str, where: str, beside: Path) -> schema.Synapse:
    """Load a synapse that has `key`, ``current`` or ``release``."""
    synapse = load(name, "synapse", where=where, beside=beside)
    if not getattr(synapse, key):
        fitting = [n for n in library.names("synapse") if getattr(load(n, "synapse"), key)]
        raise ModelError(where, f"'{name}' has no {key}", "shipped ones that do: "
                         + ", ".join(fitting))
    return synapse


def _check_projection(circuit: schema.Circuit, name: str) -> None:
    projection = circuit.projections[name]
    where = f"{circuit.label}: projections.{name}"
    carried = _offered(circuit, projection.from_, f"{where}.from")
    population, dot, compartment = projection.to.partition(".")
    if population not in circuit.populations:
        raise ModelError(f"{where}.to", f"'{projection.to}' names no population",
                         near(population, circuit.populations))
    if population not in circuit.cells:
        raise ModelError(f"{where}.to", f"'{population}' is a source and takes no input")
    cell = circuit.cells[population]
    if not dot or compartment not in cell.compartments:
        raise ModelError(f"{where}.to", f"cell '{cell.name}' has no compartment '{compartment}'",
                         near(compartment, cell.compartments))
    scale = circuit.scale(name)
    spikes = projection.from_.endswith(".spikes")
    given: Dimension | None
    if spikes != (projection.synapse is not None):
        raise ModelError(f"{where}.synapse", "spikes need a synapse" if spikes else
                         "a synapse takes spikes", 'synapse = "gaba_a" with from = "pop.spikes"')
    if projection.release is not None and projection.synapse is None:
        raise ModelError(f"{where}.release", "there is no synapse that it could change",
                         'add synapse = "ampa"')
    if projection.synapse is not None:
        voltage = cell.offers[cell.compartments[compartment].voltage]
        given = checks.current_unit(circuit.synapses[name], scale.dimensions, voltage,
                                    f"{where}.scale")
    else:
        given = units.product(scale.dimensions, carried)
    wanted = cell.inputs[compartment]
    if given is not None and given != wanted:
        raise ModelError(f"{where}.scale", f"'{scale.text}' makes the input "
                         f"{unit_text(given)}, {projection.to} ({cell.name}) takes "
                         f"{unit_text(wanted)}", 'give a scale such as "90 pA"')
    if isinstance(projection.connect, dict):
        _check_connect(circuit, projection, where)
    _check_weights(circuit, name, where)
    if projection.delay is not None:
        delay = units.quantity(projection.delay, f"{where}.delay")
        if unit_text(delay.dimensions) != "second" or delay.value < 0:
            raise ModelError(f"{where}.delay", f"found {projection.delay!r}",
                             'a delay is a time, "1 ms"')
    if name in circuit.rules:
        check_rule(circuit.rules[name], cell, cell.compartments[compartment].voltage,
                   _pre_offers(circuit, projection), f"{where}.rule")


def _check_weights(circuit: schema.Circuit, name: str, where: str) -> None:
    """Check the initial weights: an initialiser, or those of an earlier projection."""
    projection = circuit.projections[name]
    w = projection.w
    if isinstance(w, dict) and "like" in w:
        earlier = list(circuit.projections)[: list(circuit.projections).index(name)]
        if w["like"] not in earlier:
            raise ModelError(f"{where}.w.like", f"there is no earlier projection '{w['like']}'",
                             near(w["like"], earlier))
        other = circuit.projections[w["like"]]
        shapes = [[circuit.populations[end.partition(".")[0]].n for end in (p.to, p.from_)
                   if end.partition(".")[0] in circuit.populations] for p in (projection, other)]
        if w.get("transpose"):
            shapes[1].reverse()
        if shapes[0] != shapes[1] or other.connect != projection.connect or (
                projection.connect != "all"):
            raise ModelError(f"{where}.w.like", f"'{w['like']}' does not have the same synapses",
                             "projections of the same sizes (or transpose = true) that connect all")
        return
    drawn = w if isinstance(w, str) else w["name"] if isinstance(w, dict) else None
    if isinstance(w, dict) and len(w) > 1:
        raise ModelError(f"{where}.w.{min(set(w) - {'name'})}", "unknown key",
                         "an initialiser has a name and no options")
    if drawn is not None and drawn not in registry.names("initialisers"):
        raise ModelError(f"{where}.w", f"unknown initialiser '{drawn}'",
                         near(drawn, registry.names("initialisers")))


def _check_connect(circuit: schema.Circuit, projection: schema.Projection, where: str) -> None:
    """Check a connection rule against the sizes and extents of its two populations."""
    ends = [end.partition(".")[0] for end in (projection.from_, projection.to)]
    connect = projection.connect
    if ends[0] in circuit.controllers:
        return
    there = circuit.populations[ends[0]].n - (
        ends[0] == ends[1] and not connect.get("autapses", True))
    if connect.get("in_degree", 0) > there:
        raise ModelError(f"{where}.connect.in_degree", f"found {connect['in_degree']}, "
                         f"'{ends[0]}' has {there} units to choose from")
    if "distance" in connect:
        axes = [len(circuit.populations[end].extent) for end in ends]
        for end, n in zip(ends, axes, strict=True):
            if not n:
                raise ModelError(f"{where}.connect.distance", f"the units of '{end}' have no "
                                 "positions", f'populations.{end}.extent = ["500 um", "500 um"]')
        if axes[0] != axes[1]:
            raise ModelError(f"{where}.connect.distance", f"'{ends[0]}' has {axes[0]} axes, "
                             f"'{ends[1]}' {axes[1]}", "give both an extent in the same space")


def _pre_offers(circuit: schema.Circuit, projection: schema.Projection) -> dict[str, Dimension]:
    owner = projection.from_.partition(".")[0]
    if owner in circuit.controllers:
        return circuit.controller_models[owner].offers
    if owner in circuit.cells:
        return offers_of_cell(circuit.cells[owner], None)
    return {str(circuit.populations[owner].source): DIMENSIONLESS}


def offers_of_cell(cell: schema.Cell, voltage: str | None) -> dict[str, Dimension]:
    """Return what a rule may read of a cell; `voltage` is that of the compartment it sits on."""
    offers = dict(cell.offers)
    if voltage is not None:
        offers["V"] = offers[voltage]
    if cell.spike is not None:
        offers["spikes"] = DIMENSIONLESS
    return offers


def check_rule(rule: schema.Rule, cell: schema.Cell, voltage: str, pre: dict[str, Dimension],
               where: str) -> None:
    """Check that the two sides of a projection offer what its rule reads.

    Raises
    ------
    ModelError
        With what is missing and the shipped cells that offer it.
    """
    sides = (("post", rule.reads.post, offers_of_cell(cell, voltage)),
             ("pre", rule.reads.pre, pre))
    for side, reads, offers in sides:
        for name, unit in reads.items():
            wanted = DIMENSIONLESS if unit is True else units.dimension(unit)
            if name not in offers:
                raise ModelError(where, f"rule '{rule.name}' reads {name} of the {side}synaptic "
                                 "side, which offers no such thing", _who_offers(name, wanted))
            if offers[name] != wanted:
                raise ModelError(where, f"rule '{rule.name}' reads {name} in {unit}, the "
                                 f"{side}synaptic side offers it in {unit_text(offers[name])}",
                                 _who_offers(name, wanted))


def _who_offers(name: str, wanted: Dimension) -> str:
    cells = []
    for other in library.names("cell"):
        cell = load(other, "cell")
        voltages = {c.voltage for c in cell.compartments.values()}
        if any(offers_of_cell(cell, v).get(name) == wanted for v in voltages):
            cells.append(other)
    return "cells that do: " + ", ".join(cells) if cells else "no shipped cell does"


def _check_biases(circuit: schema.Circuit) -> None:
    """A population has one bias: it learns with the projection that says ``bias = true``."""
    for population in circuit.cells:
        saying = [name for name, p in circuit.projections.items()
                  if p.bias and p.to.partition(".")[0] == population]
        if len(saying) > 1:
            raise ModelError(f"{circuit.label}: projections.{saying[1]}.bias",
                             f"the bias of '{population}' learns with '{saying[0]}' already",
                             "one projection of a population may say bias = true")
