"""What the texts of one file mean to one another: names, units, sockets, what a rule reads."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from dfc_neuro.errors import ModelError, near
from dfc_neuro.files import schema, text, units
from dfc_neuro.files.dimensions import Known, dimension, unknown_names
from dfc_neuro.files.units import DIMENSIONLESS, Dimension, unit_text

_SECOND = units.table()["second"][1]
_PER_SECOND = units.table()["hertz"][1]
# units that the input of a socket is tried in, the first that fits alone
_INPUTS = ("1", "amp", "amp/metre**2", "volt", "volt/second", "siemens", "hertz")


def check(model: schema.Description) -> None:
    """Check one file by itself; circuits and protocols have checks of their own."""
    if isinstance(model, schema.Constants):
        _constants(model)
    if isinstance(model, schema.Cell):
        _cell(model)
    elif isinstance(model, schema.Synapse):
        _synapse(model)
    elif isinstance(model, schema.Controller):
        _controller(model)
    elif isinstance(model, schema.Rule):
        _rule(model)


def _constants(model: schema.Constants) -> None:
    _ = model.definitions
    known: dict[str, Dimension | None] = {}
    for name in (*model.parameters, *model.derived):
        key = "parameters" if name in model.parameters else "derived"
        text.check_name(name, f"{model.label}: {key}.{name}")
        if key == "derived":
            tree = model.expression(model.derived[name], f"derived.{name}")
            _fits(tree, known, f"{model.label}: derived.{name}", None)
        else:
            where = f"{model.label}: parameters.{name}"
            quantity = units.quantity(model.parameters[name], where)
            time_constant(name, quantity, where)
            known[name] = quantity.dimensions
            continue
        known[name] = dimension(tree, known)
    both = set(model.parameters) & set(model.derived)
    if both:
        raise ModelError(f"{model.label}: derived.{min(both)}", "is a parameter too")
    try:
        _ = model.constants
    except ValueError as error:
        raise ModelError(f"{model.label}: derived", str(error)) from None


def time_constant(name: str, quantity: units.Quantity, where: str) -> None:
    """Refuse a time constant (a name that starts with ``tau``) that is no positive time."""
    if not (name == "tau" or name.startswith("tau_")):
        return
    if quantity.dimensions not in (_SECOND, DIMENSIONLESS):
        raise ModelError(where, f"found '{quantity.text}' in {unit_text(quantity.dimensions)}, "
                                "a time constant is a time", "write for instance \"20 ms\"")
    if quantity.value <= 0:
        raise ModelError(where, f"found '{quantity.text}', a time constant is positive")


def _fits(tree: ast.expr, known: Known, where: str, wanted: Dimension | None,
          what: str = "the expression") -> Dimension | None:
    """Check names and units of an expression; `wanted` None accepts any unit."""
    missing = unknown_names(tree, known)
    if missing:
        name = min(missing)
        raise ModelError(where, f"unknown name '{name}'",
                         near(name, known) if known else "nothing may be read here")
    try:
        found = dimension(tree, known)
    except ValueError as error:
        raise ModelError(where, str(error)) from None
    if None not in (wanted, found) and wanted != found:
        assert wanted is not None and found is not None
        raise ModelError(where, f"{what} is in {unit_text(found)}, {unit_text(wanted)} is needed")
    return found


def _distinct(label: str, tables: Mapping[str, Iterable[str]]) -> None:
    seen: dict[str, str] = {}
    for key, names in tables.items():
        for name in names:
            if name in seen:
                raise ModelError(f"{label}: {key}", f"'{name}' is defined in {seen[name]} too")
            seen[name] = key


def _per_line(line: text.Equation) -> Dimension:
    return units.product(line.dims, _SECOND, -1) if line.kind == "differential" else line.dims


def _check_lines(model: schema.Constants, lines: Iterable[text.Equation], known: Known,
                 key: str) -> None:
    for line in lines:
        if line.tree is not None:
            where = f"{model.label}: {key} line {line.line}"
            _fits(line.tree, known, where, _per_line(line), f"the right side of '{line.name}'")


def _no_circle(model: schema.Constants, lines: Iterable[text.Equation], key: str) -> None:
    reads = {line.name: text.names(line.tree) for line in lines
             if line.kind == "subexpression" and line.tree is not None}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ModelError(f"{model.label}: {key}", f"'{name}' depends on itself",
                             "make one of them a state: dx/dt = ...")
        for other in sorted(reads[name] & set(reads)):
            visit(other, (*above, name))

    for name in reads:
        visit(name, ())


def _equations(model: schema.Constants, written: tuple[text.Equation, ...],
               known: dict[str, Dimension | None], key: str = "equations") -> None:
    """Check all lines; when units do not fit, name the one parameter that would explain it."""
    lines = model.inlined(written, key)
    _no_circle(model, lines, key)
    try:
        _check_lines(model, lines, known, key)
    except ModelError as error:
        if "unknown name" in error.found:
            raise
        suspects: dict[str, int] = {}
        for name in model.parameters:
            freed = model.entered_by(name)
            try:
                _check_lines(model, lines, {**known, **dict.fromkeys(freed)}, key)
            except ModelError:
                continue
            suspects[name] = len(freed)
        fewest = [name for name, n in suspects.items() if n == min(suspects.values())]
        if len(fewest) != 1:
            raise
        value = model.parameters[fewest[0]]
        raise ModelError(
            f"{model.label}: parameters.{fewest[0]}",
            f"found {value!r}, whose unit does not fit {error.where.rpartition(': ')[2]}: "
            f"{error.found}") from None


def _states(lines: Iterable[text.Equation]) -> set[str]:
    return {line.name for line in lines if line.kind != "subexpression"}


def _initial(model: schema.Constants, table: Mapping[str, object], states: Mapping[str, Dimension],
             known: Known) -> None:
    for name, value in table.items():
        where = f"{model.label}: initial.{name}"
        if name not in states:
            raise ModelError(where, "there is no such state", near(name, states))
        start(model, value, where, known, states[name])


def start(model: schema.Constants, value: object, where: str, known: Known,
          wanted: Dimension) -> ast.expr | units.Quantity:
    """Read a start value: a quantity (``"-70 mV"``) or an expression (``"E_L"``)."""
    try:
        quantity = units.parse(value)
    except ValueError:
        tree = text.inline(text.expression(value, where, model.definitions), model.definitions,
                           where)
        _fits(tree, known, where, wanted)
        return tree
    if quantity.dimensions != wanted:
        raise ModelError(where, f"found '{quantity.text}', {unit_text(wanted)} is needed")
    return quantity


def _is_condition(value: object) -> bool:
    """Whether a text compares, as ``V_m > V_th`` does."""
    return isinstance(value, str) and ("<" in value or ">" in value)


def _statements(model: schema.Constants, texts: tuple[str, ...], key: str, known: Known,
                targets: Known) -> None:
    where = f"{model.label}: {key}"
    for statement in text.statements(list(texts), where, model.definitions):
        if statement.name not in targets:
            raise ModelError(where, f"'{statement.name}' is not a state that can be changed here",
                             near(statement.name, targets))
        tree = text.inline(statement.tree, model.definitions, where)
        wanted = targets[statement.name]
        if statement.operator in ("*=", "/="):
            wanted = DIMENSIONLESS
        _fits(tree, known, where, wanted, f"the change of '{statement.name}'")


def _cell(cell: schema.Cell) -> None:
    sockets = {name: c.input for name, c in cell.compartments.items()}
    if not sockets:
        raise ModelError(f"{cell.label}: compartments", "a cell has at least one compartment")
    _distinct(cell.label, {
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
    _equations(cell, cell.lines, known)
    for name, compartment in cell.compartments.items():
        cell._inputs[name] = _input(cell, lines, name, compartment, known)
        known[compartment.input] = cell._inputs[name]
    _equations(cell, cell.lines, known)
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
            _check_lines(cell, lines, {**known, compartment.input: units.dimension(unit)},
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
        _fits(text.inline(tree, cell.definitions, where), known, where, dims)
    for name, formula in cell.axon.items():
        where = f"{cell.label}: axon.{name}"
        tree, _, dims = text.with_unit(formula, where, cell.definitions)
        _fits(text.inline(tree, cell.definitions, where), known, where, dims)
        if name not in cell.offers or cell.offers[name] != dims:
            raise ModelError(where, f"the cell offers no '{name}' in {unit_text(dims)}",
                             near(name, cell.observables))
    for name, compartment in cell.compartments.items():
        if compartment.scale is not None:
            where = f"{cell.label}: compartments.{name}.scale"
            constants = {n: q.dimensions for n, q in cell.constants.items()}
            _fits(cell.expression(compartment.scale, f"compartments.{name}.scale"), constants,
                  where, cell.inputs[name])
    states = {line.name: line.dims for line in cell.lines if line.kind != "subexpression"}
    if cell.spike is not None:
        tree = cell.expression(cell.spike.when, "spike.when")
        _fits(tree, known, f"{cell.label}: spike.when", DIMENSIONLESS)
        _statements(cell, cell.spike.reset, "spike.reset", known, states)
        _statements(cell, cell.spike.release, "spike.release", known, states)
        if cell.spike.release and cell.refractory is None:
            raise ModelError(f"{cell.label}: spike.release", "the cell is never refractory",
                             "add refractory = \"2 ms\"")
    if cell.refractory is not None:
        where = f"{cell.label}: refractory"
        if cell.spike is None:
            raise ModelError(where, "the cell does not spike", "add spike = { when = ... }")
        start(cell, cell.refractory, where, known,
              DIMENSIONLESS if _is_condition(cell.refractory) else _SECOND)
    _initial(cell, cell.initial, states, known)
    for name in cell.variants:
        if name in cell.parameters:
            raise ModelError(f"{cell.label}: variants.{name}", "the cell has this parameter itself")


def _synapse(synapse: schema.Synapse) -> None:
    known: dict[str, Dimension | None] = {line.name: line.dims for line in synapse.lines}
    known |= {name: q.dimensions for name, q in synapse.constants.items()}
    known |= {"w": DIMENSIONLESS, "scale": None, "V": None}
    _distinct(synapse.label, {"parameters": synapse.parameters, "derived": synapse.derived,
                              "equations": [line.name for line in synapse.lines]})
    _equations(synapse, synapse.lines, known)
    states = {line.name: line.dims for line in synapse.lines if line.kind != "subexpression"}
    _statements(synapse, synapse.on_pre, "on_pre", known, states)
    _initial(synapse, synapse.initial, states, known)
    if synapse.release:
        _statements(synapse, synapse.after, "after", known, states)
        _fits(synapse.expression(synapse.release, "release"), known, f"{synapse.label}: release",
              DIMENSIONLESS)
        return
    _fits(synapse.expression(synapse.current, "current"), known, f"{synapse.label}: current", None)


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
        _statements(synapse, synapse.on_pre, "on_pre", known, states)
        return _fits(synapse.expression(synapse.current, "current"), known,
                     f"{synapse.label}: current", None)
    except ModelError as error:
        raise ModelError(where, f"the scale does not fit synapse '{synapse.name}': {error.found}",
                         'give a scale such as "1 nS"') from None


def _controller(controller: schema.Controller) -> None:
    known: dict[str, Dimension | None] = {line.name: line.dims for line in controller.lines}
    known |= {name: q.dimensions for name, q in controller.constants.items()}
    known |= {name: units.dimension(unit) for name, unit in controller.reads.items()
              if isinstance(unit, str)} | {"target": None}
    _distinct(controller.label, {
        "reads": controller.reads, "parameters": controller.parameters,
        "derived": controller.derived, "equations": [line.name for line in controller.lines]})
    _equations(controller, controller.lines, known)
    states = {line.name: line.dims for line in controller.lines if line.kind != "subexpression"}
    _initial(controller, controller.initial, states, known)


def _rule(rule: schema.Rule) -> None:
    parts = {side: rule.part(side) for side in ("pre", "post", "synapse", "bias")}
    constants: dict[str, Dimension | None] = {n: q.dimensions for n, q in rule.constants.items()}
    read = {side: {name: units.dimension(unit) for name, unit in reads.items()
                   if isinstance(unit, str)}
            for side, reads in (("pre", rule.reads.pre), ("post", rule.reads.post))}
    own = {side: {line.name: line.dims for line in lines} for side, lines in parts.items()}
    _distinct(rule.label, {"parameters": rule.parameters, "derived": rule.derived,
                           "synapse": own["synapse"]})
    both: dict[str, Dimension | None] = dict(constants)
    for side in ("pre", "post"):
        _distinct(rule.label, {f"reads.{side}": read[side], "parameters": rule.parameters,
                               "derived": rule.derived, side: own[side]})
        _equations(rule, parts[side], {**constants, **read[side], **own[side]}, side)
        both |= {f"{name}_{side}": dims for name, dims in {**read[side], **own[side]}.items()}
    on_synapse = {**both, "w": DIMENSIONLESS, **own["synapse"]}
    if own["synapse"].get("w", DIMENSIONLESS) != DIMENSIONLESS:
        raise ModelError(f"{rule.label}: synapse", "w is dimensionless",
                         "write ': 1'; the projection's scale gives it a unit")
    _equations(rule, parts["synapse"], on_synapse, "synapse")
    if rule.bias and set(own["bias"]) != {"b"}:
        raise ModelError(f"{rule.label}: bias", "the bias text has one line, db/dt = ... : unit")
    on_bias = {n: d for n, d in both.items() if not n.endswith("_pre")} | own["bias"]
    _equations(rule, parts["bias"], on_bias, "bias")
    _rule_events(rule, parts, own, on_synapse)
    _rule_start(rule, own, read, constants)


def _rule_events(rule: schema.Rule, parts: Mapping[str, tuple[text.Equation, ...]],
                 own: Mapping[str, dict[str, Dimension]], known: Known) -> None:
    targets: dict[str, Dimension | None] = {"w": DIMENSIONLESS}
    for side, suffix in (("synapse", ""), ("pre", "_pre"), ("post", "_post")):
        targets |= {name + suffix: own[side][name] for name in sorted(_states(parts[side]))}
    for key, texts, reads in (("on_pre", rule.on_pre, rule.reads.pre),
                              ("on_post", rule.on_post, rule.reads.post)):
        if texts and reads.get("spikes") is not True:
            side = key.removeprefix("on_")
            raise ModelError(f"{rule.label}: {key}", f"the rule does not read {side} spikes",
                             f"write reads.{side} = {{ spikes = true, ... }}")
        _statements(rule, texts, key, known, targets)
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
        if time.dimensions != _SECOND or time.value <= 0:
            raise ModelError(where, f"found '{time.text}'", 'a positive time, "4 ms"')
