"""The checks of one file, kind by kind: names, units, sockets, what a rule reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dfc_neuro.errors import ModelError, near
from dfc_neuro.files import schema, text, units
from dfc_neuro.files.dimensions import Known
from dfc_neuro.files.meaning import (
    SECOND,
    check_constants,
    check_distinct,
    check_equations,
    check_fits,
    check_initial,
    check_lines,
    check_statements,
    is_condition,
    start,
    states_of,
)
from dfc_neuro.files.units import DIMENSIONLESS, Dimension, unit_text

# units that the input of a socket is tried in, the first that fits alone
_INPUTS = ("1", "amp", "amp/metre**2", "volt", "volt/second", "siemens", "hertz")


def check(model: schema.Description) -> None:
    """Check one file by itself; circuits and protocols have checks of their own."""
    if isinstance(model, schema.Constants):
        check_constants(model)
    if isinstance(model, schema.Cell):
        _cell(model)
    elif isinstance(model, schema.Synapse):
        _synapse(model)
    elif isinstance(model, schema.Controller):
        _controller(model)
    elif isinstance(model, schema.Rule):
        _rule(model)


def _cell(cell: schema.Cell) -> None:
    sockets = {name: c.input for name, c in cell.compartments.items()}
    if not sockets:
        raise ModelError(f"{cell.label}: compartments", "a cell has at least one compartment")
    check_distinct(cell.label, {
        "parameters": cell.parameters, "derived": cell.derived,
        "equations": [line.name for line in cell.lines],
        "compartments": list(sockets.values()), "observables": cell.observables})
    known: dict[str, Dimension | None] = {line.name: line.dims for line in cell.lines}
    known |= {name: q.dimensions for name, q in cell.constants.items()}
    known |= dict.fromkeys(sockets.values())
    lines = cell.inlined(cell.lines, "equations")
    read = {name for line in lines if line.tree is not None for name in text.names(line.tree)}
    for name, compartment in cell.compartments.items():
        where = f"{cell.label}: compartments.{name}"
        text.check_name(name, where)
        text.check_name(compartment.input, f"{where}.input")
        if compartment.voltage not in {line.name for line in cell.lines}:
            raise ModelError(f"{where}.voltage", f"'{compartment.voltage}' is not in the equations",
                             near(compartment.voltage, {line.name for line in cell.lines}))
        if compartment.input not in read:
            raise ModelError(f"{where}.input", f"no equation uses '{compartment.input}'")
    check_equations(cell, cell.lines, known)
    for name, compartment in cell.compartments.items():
        cell._inputs[name] = _input(cell, lines, name, compartment, known)
        known[compartment.input] = cell._inputs[name]
    check_equations(cell, cell.lines, known)
    _reads_of_cell(cell, known)


def _input(cell: schema.Cell, lines: Iterable[text.Equation], name: str,
           compartment: schema.Compartment, known: Known) -> Dimension:
    where = f"{cell.label}: compartments.{name}"
    if compartment.unit is not None:
        try:
            return units.dimension(compartment.unit)
        except ValueError as error:
            raise ModelError(f"{where}.unit", str(error)) from None
    fitting = []
    for unit in _INPUTS:
        try:
            check_lines(cell, lines, {**known, compartment.input: units.dimension(unit)},
                        "equations")
        except ModelError:
            continue
        fitting.append(unit)
    if len(fitting) != 1:
        raise ModelError(where, f"the equations leave the unit of '{compartment.input}' open",
                         'say it: unit = "amp"')
    return units.dimension(fitting[0])


def _reads_of_cell(cell: schema.Cell, known: dict[str, Dimension | None]) -> None:
    for name, observable in cell.observables.items():
        where = f"{cell.label}: observables.{name}"
        text.check_name(name, where)
        tree, _, dims = text.with_unit(observable, where, cell.definitions)
        check_fits(text.inline(tree, cell.definitions, where), known, where, dims)
    for name, formula in cell.axon.items():
        where = f"{cell.label}: axon.{name}"
        tree, _, dims = text.with_unit(formula, where, cell.definitions)
        check_fits(text.inline(tree, cell.definitions, where), known, where, dims)
        if name not in cell.offers or cell.offers[name] != dims:
            raise ModelError(where, f"the cell offers no '{name}' in {unit_text(dims)}",
                             near(name, cell.observables))
    for name, compartment in cell.compartments.items():
        if compartment.scale is not None:
            where = f"{cell.label}: compartments.{name}.scale"
            constants = {n: q.dimensions for n, q in cell.constants.items()}
            check_fits(cell.expression(compartment.scale, f"compartments.{name}.scale"), constants,
                       where, cell.inputs[name])
    states = {line.name: line.dims for line in cell.lines if line.kind != "subexpression"}
    if cell.spike is not None:
        tree = cell.expression(cell.spike.when, "spike.when")
        check_fits(tree, known, f"{cell.label}: spike.when", DIMENSIONLESS)
        check_statements(cell, cell.spike.reset, "spike.reset", known, states)
        check_statements(cell, cell.spike.release, "spike.release", known, states)
        if cell.spike.release and cell.refractory is None:
            raise ModelError(f"{cell.label}: spike.release", "the cell is never refractory",
                             "add refractory = \"2 ms\"")
    if cell.refractory is not None:
        where = f"{cell.label}: refractory"
        if cell.spike is None:
            raise ModelError(where, "the cell does not spike", "add spike = { when = ... }")
        start(cell, cell.refractory, where, known,
              DIMENSIONLESS if is_condition(cell.refractory) else SECOND)
    check_initial(cell, cell.initial, states, known)
    for name in cell.variants:
        if name in cell.parameters:
            raise ModelError(f"{cell.label}: variants.{name}", "the cell has this parameter itself")


def _synapse(synapse: schema.Synapse) -> None:
    known: dict[str, Dimension | None] = {line.name: line.dims for line in synapse.lines}
    known |= {name: q.dimensions for name, q in synapse.constants.items()}
    known |= {"w": DIMENSIONLESS, "scale": None, "V": None}
    check_distinct(synapse.label, {"parameters": synapse.parameters, "derived": synapse.derived,
                                   "equations": [line.name for line in synapse.lines]})
    check_equations(synapse, synapse.lines, known)
    states = {line.name: line.dims for line in synapse.lines if line.kind != "subexpression"}
    check_statements(synapse, synapse.on_pre, "on_pre", known, states)
    check_initial(synapse, synapse.initial, states, known)
    if synapse.release:
        check_statements(synapse, synapse.after, "after", known, states)
        check_fits(synapse.expression(synapse.release, "release"), known,
                   f"{synapse.label}: release", DIMENSIONLESS)
        return
    check_fits(synapse.expression(synapse.current, "current"), known,
               f"{synapse.label}: current", None)


def current_unit(synapse: schema.Synapse, scale: Dimension, voltage: Dimension,
                 where: str) -> Dimension | None:
    """Return the unit of a synapse's current, for a scale and a voltage.

    Raises
    ------
    ModelError
        If they do not fit the synapse.
    """
    known: dict[str, Dimension | None] = {line.name: line.dims for line in synapse.lines}
    known |= {name: q.dimensions for name, q in synapse.constants.items()}
    known |= {"w": DIMENSIONLESS, "scale": scale, "V": voltage}
    states = {line.name: line.dims for line in synapse.lines if line.kind != "subexpression"}
    try:
        check_statements(synapse, synapse.on_pre, "on_pre", known, states)
        return check_fits(synapse.expression(synapse.current, "current"), known,
                          f"{synapse.label}: current", None)
    except ModelError as error:
        raise ModelError(where, f"the scale does not fit synapse '{synapse.name}': {error.found}",
                         'give a scale such as "1 nS"') from None


def _controller(controller: schema.Controller) -> None:
    known: dict[str, Dimension | None] = {line.name: line.dims for line in controller.lines}
    known |= {name: q.dimensions for name, q in controller.constants.items()}
    known |= {name: units.dimension(unit) for name, unit in controller.reads.items()
              if isinstance(unit, str)} | {"target": None}
    check_distinct(controller.label, {
        "reads": controller.reads, "parameters": controller.parameters,
        "derived": controller.derived, "equations": [line.name for line in controller.lines]})
    check_equations(controller, controller.lines, known)
    states = {line.name: line.dims for line in controller.lines if line.kind != "subexpression"}
    check_initial(controller, controller.initial, states, known)


def _rule(rule: schema.Rule) -> None:
    parts = {side: rule.part(side) for side in ("pre", "post", "synapse", "bias")}
    constants: dict[str, Dimension | None] = {n: q.dimensions for n, q in rule.constants.items()}
    read = {side: {name: units.dimension(unit) for name, unit in reads.items()
                   if isinstance(unit, str)}
            for side, reads in (("pre", rule.reads.pre), ("post", rule.reads.post))}
    own = {side: {line.name: line.dims for line in lines} for side, lines in parts.items()}
    check_distinct(rule.label, {"parameters": rule.parameters, "derived": rule.derived,
                                "synapse": own["synapse"]})
    both: dict[str, Dimension | None] = dict(constants)
    for side in ("pre", "post"):
        check_distinct(rule.label, {f"reads.{side}": read[side], "parameters": rule.parameters,
                                    "derived": rule.derived, side: own[side]})
        check_equations(rule, parts[side], {**constants, **read[side], **own[side]}, side)
        both |= {f"{name}_{side}": dims for name, dims in {**read[side], **own[side]}.items()}
    on_synapse = {**both, "w": DIMENSIONLESS, **own["synapse"]}
    if own["synapse"].get("w", DIMENSIONLESS) != DIMENSIONLESS:
        raise ModelError(f"{rule.label}: synapse", "w is dimensionless",
                         "write ': 1'; the projection's scale gives it a unit")
    check_equations(rule, parts["synapse"], on_synapse, "synapse")
    if rule.bias and set(own["bias"]) != {"b"}:
        raise ModelError(f"{rule.label}: bias", "the bias text has one line, db/dt = ... : unit")
    on_bias = {n: d for n, d in both.items() if not n.endswith("_pre")} | own["bias"]
    check_equations(rule, parts["bias"], on_bias, "bias")
    _rule_events(rule, parts, own, on_synapse)
    _rule_start(rule, own, read, constants)


def _rule_events(rule: schema.Rule, parts: Mapping[str, tuple[text.Equation, ...]],
                 own: Mapping[str, dict[str, Dimension]], known: Known) -> None:
    targets: dict[str, Dimension | None] = {"w": DIMENSIONLESS}
    for side, suffix in (("synapse", ""), ("pre", "_pre"), ("post", "_post")):
        targets |= {name + suffix: own[side][name] for name in sorted(states_of(parts[side]))}
    for key, texts, reads in (("on_pre", rule.on_pre, rule.reads.pre),
                              ("on_post", rule.on_post, rule.reads.post)):
        if texts and reads.get("spikes") is not True:
            side = key.removeprefix("on_")
            raise ModelError(f"{rule.label}: {key}", f"the rule does not read {side} spikes",
                             f"write reads.{side} = {{ spikes = true, ... }}")
        check_statements(rule, texts, key, known, targets)
    for side, reads in (("pre", rule.reads.pre), ("post", rule.reads.post)):
        for name, unit in reads.items():
            if (unit is True) != (name == "spikes"):
                raise ModelError(f"{rule.label}: reads.{side}.{name}", f"found {unit!r}",
                                 "a unit such as \"1\"; true for spikes and nothing else")
    changed = {s.name for key in (rule.on_pre, rule.on_post)
               for s in text.statements(list(key), rule.label, rule.definitions)}
    if "w" not in changed and not any(line.name == "w" and line.kind == "differential"
                                      for line in parts["synapse"]):
        raise ModelError(f"{rule.label}: synapse", "the rule does not change w",
                         "write 'dw/dt = ... : 1', or 'w += ...' in on_pre or on_post")


def _rule_start(rule: schema.Rule, own: Mapping[str, dict[str, Dimension]],
                read: Mapping[str, dict[str, Dimension]], constants: Known) -> None:
    states = own["pre"] | own["post"] | own["synapse"]
    for name, value in rule.initial.items():
        where = f"{rule.label}: initial.{name}"
        if name == "w":
            _plain_number(value, where)
            continue
        side = next((s for s in ("pre", "post", "synapse") if name in own[s]), None)
        if side is None:
            raise ModelError(where, "there is no such state", near(name, states))
        known = {**constants, **read.get(side, {})}
        start(rule, value, where, known, states[name])
    _late(rule, own)
    for name, (low, high) in rule.bounds.items():
        if name not in {"w", *own["synapse"]}:
            raise ModelError(f"{rule.label}: bounds.{name}", "there is no such state",
                             near(name, {"w", *own["synapse"]}))
        if not low < high:
            raise ModelError(f"{rule.label}: bounds.{name}", f"found [{low}, {high}]",
                             "the lower bound comes first")


def _plain_number(value: object, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(where, f"found {value!r}", "a weight is a plain number")


def _late(rule: schema.Rule, own: Mapping[str, dict[str, Dimension]]) -> None:
    """Only filters of the postsynaptic side that no event changes can be read late."""
    changed = {s.name for texts in (rule.on_pre, rule.on_post)
               for s in text.statements(list(texts), rule.label, rule.definitions)}
    touched = any(f"{name}_post" in changed for name in own["post"])
    filters = set() if touched else set(own["post"])
    for name, value in rule.late.items():
        where = f"{rule.label}: late.{name}"
        if name not in filters:
            raise ModelError(where, "is no filter of post that events leave alone",
                             near(name, filters) if filters else "leave late out")
        time = units.quantity(value, where)
        if time.dimensions != SECOND or time.value <= 0:
            raise ModelError(where, f"found '{time.text}'", 'a positive time, "4 ms"')
