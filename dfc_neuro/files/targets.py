"""Whether what a recording stimulates, tests, records and measures is there, in the right unit."""

from __future__ import annotations

from dfc_neuro.errors import ProtocolError, near
from dfc_neuro.files import checks, schema, units
from dfc_neuro.files.circuits import check_rule, load_synapse, offers_of_cell
from dfc_neuro.files.load import load, validate
from dfc_neuro.files.protocols import RecordingProtocol, Stimulus
from dfc_neuro.files.units import DIMENSIONLESS, Dimension, unit_text

_SECOND = units.table()["second"][1]


def check_recording(found: RecordingProtocol) -> None:
    """Check a linked recording protocol against its model.

    Raises
    ------
    ProtocolError
        Naming the entry, and what there is instead.
    """
    for name in found.plastic:
        _plastic(found, name)
    for name, stimulus in found.stimuli.items():
        _stimulus(found, name, stimulus)
    for name in found.record:
        _record(found, name)
    for name, measure in found.measure.items():
        of, where = measure.get("of"), f"{found.label}: measure.{name}.of"
        if not isinstance(of, str):
            raise ProtocolError(where, "is missing" if of is None else f"found {of!r}",
                                'write of = "RECORD.VARIABLE"')
        known = {*found.record, *found.plastic}
        if of.partition(".")[0] not in known:
            raise ProtocolError(where, f"nothing is recorded under '{of}'", near(of, known))


def sockets(found: RecordingProtocol) -> dict[str, tuple[schema.Cell, str]]:
    """Return what `at` may name: compartments (``population.compartment`` in a circuit)."""
    if found.cell is not None:
        return {name: (found.cell, name) for name in found.cell.compartments}
    assert found.circuit is not None
    return {f"{population}.{name}": (cell, name)
            for population, cell in found.circuit.cells.items() for name in cell.compartments}


def rate_sources(found: RecordingProtocol) -> set[str]:
    """Return the populations whose rates, and the controllers whose targets, a stimulus gives."""
    if found.circuit is None:
        return set()
    rates = {name for name, p in found.circuit.populations.items() if p.source == "rate"}
    return rates | set(found.circuit.controllers)


def spike_targets(found: RecordingProtocol) -> set[str]:
    """Return where spikes can be sent: synapses under test, and sources of spikes."""
    places = set(found.plastic)
    if found.circuit is not None:
        places |= {name for name, p in found.circuit.populations.items() if p.source == "spikes"}
    return places


def _wanted(value: object, dims: Dimension, where: str) -> None:
    if value is None or (isinstance(value, str) and "{" in value):
        return
    quantity = units.quantity(value, where)
    if quantity.dimensions != dims:
        raise ProtocolError(where, f"found '{quantity.text}', {unit_text(dims)} is needed here")


def _stimulus(found: RecordingProtocol, name: str, stimulus: Stimulus) -> None:
    where = f"{found.label}: stimuli.{name}"
    if stimulus.locked_to is not None and stimulus.locked_to not in found.stimuli:
        raise ProtocolError(f"{where}.locked_to", f"there is no stimulus '{stimulus.locked_to}'",
                            near(stimulus.locked_to, set(found.stimuli) - {name}))
    if stimulus.type in ("spikes", "poisson"):
        targets = spike_targets(found)
        if stimulus.at not in targets:
            raise ProtocolError(f"{where}.at", f"spikes cannot be sent to '{stimulus.at}'",
                                near(stimulus.at, targets) if targets else
                                "add a synapse under test: [plastic]")
        _wanted(stimulus.rate, units.table()["hertz"][1], f"{where}.rate")
        if stimulus.train is not None:
            _wanted(stimulus.train.rate, units.table()["hertz"][1], f"{where}.train.rate")
            if stimulus.train.n > 1 and stimulus.train.rate is None:
                raise ProtocolError(f"{where}.train.rate", "is missing", 'for instance "50 Hz"')
            if stimulus.train.repeat > 1 and stimulus.train.every is None:
                raise ProtocolError(f"{where}.train.every", "is missing", 'for instance "10 s"')
        return
    places = sockets(found)
    rates = rate_sources(found)
    if stimulus.at in rates and stimulus.type != "clamp":
        _units(stimulus, DIMENSIONLESS, where)
        return
    if stimulus.at not in places:
        raise ProtocolError(f"{where}.at", f"there is no compartment '{stimulus.at}'",
                            near(stimulus.at, {*places, *rates}))
    cell, compartment = places[stimulus.at]
    takes = cell.inputs[compartment]
    if stimulus.reversal is not None:
        voltage = cell.offers[cell.compartments[compartment].voltage]
        _wanted(stimulus.reversal, voltage, f"{where}.reversal")
        takes = units.product(takes, voltage, -1)
    _units(stimulus, takes, where)
    _wanted(stimulus.voltage, cell.offers[cell.compartments[compartment].voltage],
            f"{where}.voltage")


def _units(stimulus: Stimulus, takes: Dimension, where: str) -> None:
    """Check the values of a stimulus on something that takes a unit."""
    _wanted(stimulus.amplitude, takes, f"{where}.amplitude")
    _wanted(stimulus.mean, takes, f"{where}.mean")
    _wanted(stimulus.frequency, units.table()["hertz"][1], f"{where}.frequency")
    if stimulus.burst is not None:
        _wanted(stimulus.burst.rate, units.table()["hertz"][1], f"{where}.burst.rate")
    for row in stimulus.values or ():
        for value in row:
            _wanted(value, takes, f"{where}.values")
    root = units.DIMENSIONLESS if stimulus.type == "ou" else units.raised(_SECOND, 0.5)
    _wanted(stimulus.sigma, units.product(takes, root), f"{where}.sigma")


def _set_parameters(rule: schema.Rule, changes: dict, where: str) -> schema.Rule:
    """Return a rule with some of its parameters replaced."""
    if not changes:
        return rule
    for name in changes:
        if name not in rule.parameters:
            raise ProtocolError(f"{where}.parameters.{name}", f"rule '{rule.name}' has no such "
                                "parameter", near(name, rule.parameters))
    table = {**rule.source, "parameters": {**rule.parameters, **changes}}
    changed = validate(table, rule.path, f"{rule.label} as {where} sets it")
    assert isinstance(changed, schema.Rule)
    return changed


def _plastic(found: RecordingProtocol, name: str) -> None:
    entry, where = found.plastic[name], f"{found.label}: plastic.{name}"
    places = sockets(found)
    if entry.at not in places:
        raise ProtocolError(f"{where}.at", f"there is no compartment '{entry.at}'",
                            near(entry.at, places))
    cell, compartment = places[entry.at]
    voltage = cell.compartments[compartment].voltage
    beside = found.path.parent
    rule = _set_parameters(load(entry.rule, "rule", where=f"{where}.rule", beside=beside),
                           entry.parameters, where)
    check_rule(rule, cell, voltage, {"spikes": DIMENSIONLESS}, f"{where}.rule")
    found._rules[name] = rule
    if entry.synapse != "none":
        synapse = load_synapse(entry.synapse, "current", f"{where}.synapse", beside)
        scale = units.quantity(entry.scale, f"{where}.scale").dimensions
        given = checks.current_unit(synapse, scale, cell.offers[voltage], f"{where}.scale")
        if given not in (None, cell.inputs[compartment]):
            assert given is not None
            raise ProtocolError(f"{where}.scale", f"makes the input {unit_text(given)}, "
                                f"{entry.at} takes {unit_text(cell.inputs[compartment])}",
                                'give a scale such as "1 nS"')
        found._synapses[name] = synapse


def _offers(found: RecordingProtocol, of: str | None, where: str) -> set[str]:
    if of in found.plastic:
        rule = found.rules[str(of)]
        lines = [line for side in ("pre", "post", "synapse") for line in rule.part(side)]
        return {"w", *(line.name for line in lines)}
    if found.cell is not None:
        if of is not None:
            raise ProtocolError(f"{where}.of", f"there is no '{of}'",
                                near(of, found.plastic) if found.plastic else
                                "leave it out: the protocol runs on one cell")
        return set(offers_of_cell(found.cell, None))
    circuit = found.circuit
    assert circuit is not None
    every = {name: set(offers_of_cell(cell, None)) for name, cell in circuit.cells.items()}
    every |= {name: set(model.offers) for name, model in circuit.controller_models.items()}
    every |= {name: {str(p.source)} for name, p in circuit.populations.items() if p.source}
    every |= {name: {"w"} for name in circuit.projections}
    if of is None:
        return set().union(*every.values())
    if of not in every:
        raise ProtocolError(f"{where}.of", f"there is no '{of}' in the circuit", near(of, every))
    return every[of]


def _record(found: RecordingProtocol, name: str) -> None:
    entry, where = found.record[name], f"{found.label}: record.{name}"
    offers = _offers(found, entry.of, where)
    for what in entry.what:
        if what not in offers:
            raise ProtocolError(f"{where}.what", f"there is no '{what}' to record",
                                near(what, offers))
