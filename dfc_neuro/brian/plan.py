"""From a resolved protocol to what is built, and which of its conditions run side by side."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dfc_neuro.brian.device import check_method
from dfc_neuro.brian.scheme import Link, Scheme
from dfc_neuro.brian.stimuli import describe, last_event
from dfc_neuro.brian.topology import draw, positions
from dfc_neuro.errors import EngineError, ProtocolError, near
from dfc_neuro.files.schema import Cell, Controller
from dfc_neuro.files.units import quantity

log = logging.getLogger("dfc_neuro.brian")

Array = np.ndarray
CELL = "cell"  # the population of a protocol that runs on a cell
RATE_OPTIONS = ("transmission", "proactive", "instant_system", "integrator")
START = 0.5  # weight of a synapse under test, where neither protocol nor rule says one
TAIL = 10.0  # duration "auto": this many of the longest time constant after the last event


@dataclass(frozen=True)
class Batch:
    """Conditions that run side by side in one network, one a replica.

    ``positions`` are theirs among all conditions; ``varied`` holds the parameters that differ,
    {population: {parameter: (replicas,)}}; ``dt`` and ``duration`` are in seconds.
    """

    positions: tuple[int, ...]
    protocols: tuple
    scheme: Scheme
    dt: float
    duration: float
    method: str
    varied: dict[str, dict[str, Array]]


def check_numerics(protocol) -> None:
    """Raise EngineError if a protocol sets an option that belongs to the rate engine."""
    for key in RATE_OPTIONS:
        if getattr(protocol.numerics, key) is not None:
            raise EngineError(
                f"{protocol.label}: numerics.{key}",
                "is an option of the rate engine's discretisation, the Brian2 engine runs the "
                "equations", "leave it out, or set numerics.engine to rates")
    if protocol.numerics.precision == "float32":
        raise EngineError(f"{protocol.label}: numerics.precision", "the Brian2 engine computes in "
                          "float64", "leave it out")


def time_step(protocol) -> float:
    """Return dt in seconds; a plain number counts in units of the controller's tau_u."""
    where = f"{protocol.label}: numerics.dt"
    if protocol.numerics.dt is None:
        raise ProtocolError(where, "is missing", "write for instance dt = \"0.1 ms\"")
    dt = quantity(protocol.numerics.dt, where)
    if any(dt.dimensions):
        return dt.value
    models = list(protocol.circuit.controller_models.values()) if protocol.circuit else []
    if len(models) != 1 or "tau_u" not in models[0].constants:
        raise ProtocolError(where, f"found {dt.text}, which counts in units of a controller's "
                            "tau_u, and there is no such controller", "write for instance "
                            "\"0.1 ms\"")
    return dt.value * models[0].constants["tau_u"].value


def duration(protocol) -> float:
    """Return the time to simulate in seconds.

    "auto" ends ten of the longest time constants of synapses and rules after the last event.
    """
    if protocol.duration != "auto":
        return quantity(protocol.duration, f"{protocol.label}: duration").value
    models = [*protocol.rules.values(), *protocol.synapses.values()]
    if protocol.circuit is not None:
        models += [*protocol.circuit.rules.values(), *protocol.circuit.synapses.values()]
    taus = [q.value for m in models for n, q in m.constants.items() if n.startswith("tau")]
    return last_event(protocol) + max([TAIL * max(taus, default=0.0), 0.1])


def batches(protocols: Sequence, seeds: np.random.SeedSequence) -> list[Batch]:
    """Group conditions that differ in stimuli, weights and cell parameters only.

    Parameters
    ----------
    protocols : sequence of RecordingProtocol
        The conditions, resolved.
    seeds : SeedSequence
        For connections and weights, the same in every condition.
    """
    alike: dict[str, list[int]] = {}
    for k, protocol in enumerate(protocols):
        check_numerics(protocol)
        alike.setdefault(_signature(protocol), []).append(k)
    out = []
    for chosen in alike.values():
        members = tuple(protocols[k] for k in chosen)
        schemes = [scheme_of(p, seeds) for p in members]
        varied = {name: _varied([s.cells[name] for s in schemes]) for name in schemes[0].cells}
        links = tuple(_side_by_side([s.links[k] for s in schemes])
                      for k in range(len(schemes[0].links)))
        scheme = Scheme(schemes[0].cells, schemes[0].controllers, schemes[0].sources,
                        schemes[0].sizes, links, schemes[0].positions)
        first = members[0]
        out.append(Batch(tuple(chosen), members, scheme, time_step(first), duration(first),
                         _method(first, scheme.cells), varied))
    return out


def _method(protocol, cells: Mapping[str, Cell]) -> str:
    """Return the integrator; say so when it is a poor one for these cells."""
    where = f"{protocol.label}: numerics.method"
    method = check_method(protocol.numerics.method or "rk4", where)
    for cell in cells.values():
        voltages = {c.voltage for c in cell.compartments.values()}
        coupled = [e for e in cell.lines if e.kind == "differential" and e.name in voltages]
        if method == "exponential_euler" and len(coupled) > 1:
            log.warning("%s: exponential_euler takes the currents between the compartments of %s "
                        "from the step before; it is of first order and can lose spikes, rk4 is "
                        "of fourth", where, cell.label)
    return method


def _signature(protocol) -> str:
    """Return what conditions must have in common, apart from values of stimuli and cells."""
    def bare(cell) -> dict:
        return {k: v for k, v in cell.source.items() if k != "parameters"}

    circuit = protocol.circuit
    parts = {
        "numerics": protocol.numerics.model_dump(),
        "record": {k: r.model_dump() for k, r in protocol.record.items()},
        "duration": duration(protocol),
        "stimuli": describe(protocol.stimuli),
        "plastic": {k: [p.at, p.synapse, p.scale, p.n] for k, p in protocol.plastic.items()},
        "models": [m.source for m in (*protocol.rules.values(), *protocol.synapses.values())],
        "cell": bare(protocol.cell) if protocol.cell is not None else None,
    }
    if circuit is not None:
        parts["circuit"] = [
            {k: bare(c) for k, c in circuit.cells.items()},
            {k: p.model_dump() for k, p in circuit.populations.items()},
            {k: [p.model_dump(), circuit.scale(k).value] for k, p in circuit.projections.items()},
            {k: c.model_dump() for k, c in circuit.controllers.items()},
            [m.source for part in (circuit.controller_models, circuit.rules, circuit.synapses,
                                      circuit.releases)
             for m in part.values()]]
    return json.dumps(parts, sort_keys=True, default=str)


def _varied(cells: Sequence) -> dict[str, Array]:
    values = {name: np.array([c.constants[name].value for c in cells])
              for name in cells[0].constants}
    return {name: v for name, v in values.items() if np.any(v != v[0])}


def _side_by_side(links: Sequence[Link]) -> Link:
    first = links[0]
    return Link(**{**vars(first), "w": np.stack([link.w for link in links])})


def scheme_of(protocol, seeds: np.random.SeedSequence) -> Scheme:
    """Return populations and links of a protocol's cell or circuit, with its synapses under test.

    Parameters
    ----------
    protocol : RecordingProtocol
        Resolved.
    seeds : SeedSequence
    """
    circuit = protocol.circuit
    cells: dict[str, Cell] = {}
    controllers: dict[str, Controller] = {}
    sources: dict[str, str] = {}
    sizes: dict[str, int] = {}
    links: list[Link] = []
    places: dict[str, Array] = {}
    if circuit is None:
        cells[CELL], sizes[CELL] = protocol.cell, 1
    else:
        for name, population in circuit.populations.items():
            sizes[name] = population.n
            if population.cells_per_unit > 1:
                raise EngineError(f"{circuit.label}: populations.{name}.cells_per_unit",
                                  "is of learning experiments; a recording shows single cells",
                                  f"write n = {population.n * population.cells_per_unit}")
            if population.source is not None:
                sources[name] = population.source
            else:
                cells[name] = circuit.cells[name]
        places = positions(circuit.populations, seeds, circuit.label)
        links = _circuit_links(circuit, controllers, sizes, places, seeds)
    for name, under_test in protocol.plastic.items():
        where = f"{protocol.label}: plastic.{name}"
        population, dot, compartment = under_test.at.partition(".")
        if not dot:
            population, compartment = next(iter(cells)), under_test.at
        if population not in cells or compartment not in cells[population].compartments or (
                not dot and len(cells) > 1):
            raise ProtocolError(f"{where}.at", f"there is nothing called '{under_test.at}'",
                                near(under_test.at, _sockets(cells)))
        n = sizes[population] * under_test.n
        sources[f"{name}_input"], sizes[f"{name}_input"] = "spikes", n
        synapse, rule = protocol.synapses.get(name), protocol.rules[name]
        start = rule.initial.get("w", START) if under_test.w is None else under_test.w
        links.append(Link(
            name, f"{name}_input", "spikes", population, compartment, np.arange(n),
            np.repeat(np.arange(sizes[population]), under_test.n),
            np.full(n, _number(start, f"{where}.w")), synapse, rule,
            synapse is not None, quantity(under_test.scale, f"{where}.scale"), where=where))
    return Scheme(cells, controllers, sources, sizes, tuple(links), places)


def _sockets(cells) -> list[str]:
    return [c if len(cells) == 1 else f"{n}.{c}" for n in cells for c in cells[n].compartments]


def _number(w, where: str) -> float:
    if isinstance(w, int | float):
        return float(w)
    raise ProtocolError(where, f"found {w!r}", "a synapse under test needs a number")


def _circuit_links(circuit, controllers, sizes, places, seeds) -> list[Link]:
    links = []
    for name, use in circuit.controllers.items():
        model = circuit.controller_models[name]
        controllers[name] = model
        for key in model.reads:
            source, _, reads = str(use.settings[key]).partition(".")
            if source in circuit.cells:
                reads = circuit.cells[source].sent(reads)
            if sizes.setdefault(name, sizes[source]) != sizes[source]:
                raise EngineError(f"{circuit.label}: controllers.{name}.{key}",
                                  f"'{source}' has {sizes[source]} units, another that it reads "
                                  f"has {sizes[name]}", "read populations of one size")
            units = np.arange(sizes[source])
            links.append(Link(f"{name}_{key}", source, reads, name, key, units, units,
                              np.ones(len(units)), where=f"{circuit.label}: controllers.{name}"))
    learner = {}
    for name, projection in circuit.projections.items():
        compartment = projection.to.partition(".")[2]
        basal = [k for k, p in circuit.projections.items()
                 if p.to == projection.to and k in circuit.rules]
        learner[name] = projection.bias if projection.bias is not None else (
            compartment == "basal" and basal == [name])
    for k, (name, projection) in enumerate(circuit.projections.items()):
        where = f"{circuit.label}: projections.{name}"
        source, _, reads = projection.from_.partition(".")
        if source in circuit.cells:
            reads = circuit.cells[source].sent(reads)
        target, _, compartment = projection.to.partition(".")
        post, pre, w = draw(projection, k, (sizes[target], sizes[source]),
                            (places.get(target), places.get(source)),
                            {link.name: link.w for link in links}, seeds, where)
        scale = circuit.scale(name)
        delay = 0.0 if projection.delay is None else quantity(projection.delay, where).value
        links.append(Link(name, source, reads, target, compartment, pre, post, w,
                          circuit.synapses.get(name), circuit.rules.get(name), True, scale, delay,
                          bool(learner[name]), where, circuit.releases.get(name)))
    return links
