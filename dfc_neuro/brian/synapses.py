"""Synapses of links: their text from models and rules, their connections and weights."""

from __future__ import annotations

from collections.abc import Mapping

import brian2 as b2
import numpy as np

from dfc_neuro.brian.scheme import Link, Scheme
from dfc_neuro.brian.text import brian_quantity, reporting
from dfc_neuro.brian.wiring import Wiring, learn, release, transmit_rate, transmit_spikes
from dfc_neuro.errors import EngineError, near
from dfc_neuro.files.schema import Rule
from dfc_neuro.files.units import unit_text

Array = np.ndarray
OF_SOURCES = {"period", "spike_number", "neuron_index", "spike_time", "t_in_timesteps"}  # of spikes


def wire(link: Link, scheme: Scheme, cells: Mapping[str, b2.Equations], learning: bool) -> Wiring:
    """Return the text of a link.

    Parameters
    ----------
    link : Link
    scheme : Scheme
    cells : dict of Equations
        Composed text of each population, with empty sockets.
    learning : bool
        False leaves the rule out.

    Raises
    ------
    EngineError
        When the source or the target does not offer what the link or its rule reads.
    """
    wiring = Wiring()
    where = link.where or link.name
    if link.name.endswith(("_pre", "_post")) or link.name in ("pre", "post"):
        raise EngineError(where, f"the name '{link.name}' is one of the two sides of a synapse",
                          "choose another name")
    _check_source(link, scheme, where)
    if link.target in scheme.controllers:
        wiring.symbol, wiring.summed = link.socket, True
        unit = scheme.controllers[link.target].reads[link.socket]
        wiring.synapses.lines.append(
            f"{link.socket}_post = w*{link.reads}_pre : {unit} (summed)")
    else:
        cell = scheme.cells[link.target]
        compartment = cell.compartments[link.socket]
        unit = unit_text(cell.inputs[link.socket])
        with reporting(where):
            if link.synapse is not None:
                transmit_spikes(wiring, link.name, link.synapse, link.scale,
                                compartment.voltage, unit)
                if link.release is not None:
                    release(wiring, link.name, link.release)
            elif link.transmits:
                transmit_rate(wiring, link.name, link.reads, link.scale, unit)
            if link.rule is not None and learning:
                _check_reads(link, link.rule, scheme, cells)
                learn(wiring, link.name, link.rule, compartment.voltage, link.bias,
                      scheme.cells.get(link.source))
    if not any(line.startswith("dw/dt") for line in wiring.synapses.lines):
        wiring.synapses.lines.append("w : 1")
    return wiring


def _spiking(name: str, scheme: Scheme) -> bool:
    cell = scheme.cells.get(name)
    return scheme.sources.get(name) == "spikes" or (cell is not None and cell.spike is not None)


def _check_source(link: Link, scheme: Scheme, where: str) -> None:
    if link.reads == "spikes" and not _spiking(link.source, scheme):
        raise EngineError(where, f"'{link.source}' has no spikes to read",
                          "name a cell with [spike], or a rate instead")
    if link.reads != "spikes" and link.synapse is not None:
        raise EngineError(where, f"a synapse model needs spikes, '{link.reads}' is none",
                          f"write from = \"{link.source}.spikes\"")
    if link.reads != "spikes" and link.delay:
        raise EngineError(f"{where}.delay", "only spikes are delayed by the Brian2 engine",
                          "leave the delay out")


def _check_reads(link: Link, rule: Rule, scheme: Scheme, cells: Mapping[str, b2.Equations]
                 ) -> None:
    """Refuse a rule that reads what its two sides do not offer, or defines what the source has."""
    for side, node in (("post", link.target), ("pre", link.source)):
        offered = _offered(node, scheme, cells) | ({"V"} if side == "post" else set())
        for name in getattr(rule.reads, side):
            if name not in offered:
                raise EngineError(
                    f"{rule.label}: reads.{side}.{name}",
                    f"'{node}' does not offer '{name}' to the rule of {link.name}",
                    near(name, offered))
    taken = _offered(link.source, scheme, cells) | (
        set(scheme.cells[link.source].constants) if link.source in cells else OF_SOURCES)
    for line in rule.part("synapse"):
        if line.name in taken:
            raise EngineError(f"{rule.label}: synapse", f"'{link.source}', the source of "
                              f"{link.name}, has a '{line.name}' of its own",
                              "choose another name")


def _offered(node: str, scheme: Scheme, cells: Mapping[str, b2.Equations]) -> set[str]:
    spikes = {"spikes"} if _spiking(node, scheme) else set()
    if node in cells:
        return set(cells[node]) | spikes
    if node in scheme.controllers:
        controller = scheme.controllers[node]
        return {line.name for line in controller.lines} | set(controller.reads) | {"target"}
    return spikes or {"rate"}


def connect(
    link: Link,
    wiring: Wiring,
    scheme: Scheme,
    groups: Mapping[str, b2.Group],
    replicas: int,
    method: str,
    clock: b2.Clock,
) -> b2.Synapses:
    """Return the Synapses of a link, connected in each replica, weights and constants set."""
    events = {}
    clip = wiring.clip
    if wiring.on_pre:
        events["on_pre"] = "\n".join([*wiring.on_pre, *clip])
    if wiring.on_post:
        events["on_post"] = "\n".join([*wiring.on_post, *clip])
    synapses = b2.Synapses(
        groups[link.source], groups[link.target], model=wiring.synapses.text, method=method,
        clock=clock, namespace={}, name=f"synapses_{link.name}", **events)
    copies = np.arange(replicas)[:, None]
    n_pre, n_post = scheme.sizes[link.source], scheme.sizes[link.target]
    synapses.connect(i=(copies * n_pre + link.pre).ravel(), j=(copies * n_post + link.post).ravel())
    if len(link.pre):
        weights = np.broadcast_to(link.w, (replicas, len(link.pre)))
        synapses.w = weights.ravel()
        if link.delay and wiring.on_pre:
            synapses.pre.delay = link.delay * b2.second
    for name, value in wiring.synapses.constants.items():
        setattr(synapses, name, brian_quantity(value))
    return synapses
