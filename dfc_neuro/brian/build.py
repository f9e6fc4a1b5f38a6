"""From a scheme to one explicit Network: every group, its order in a step, its first state.

Order within a step: the sums over synapses along the signal path, what is recorded, the rules,
then the cells and controllers, then thresholds and spikes.  So at each step all recorded variables
belong to the same instant, and rules read that instant too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import brian2 as b2
import numpy as np

from dfc_neuro.brian import device
from dfc_neuro.brian.cells import cell_group, composed, controller_group, source_group
from dfc_neuro.brian.order import signal_path
from dfc_neuro.brian.scheme import Link, Scheme
from dfc_neuro.brian.synapses import connect, wire
from dfc_neuro.brian.text import operations, reporting
from dfc_neuro.brian.waveforms import Delayed
from dfc_neuro.brian.wiring import Part, Wiring

Array = np.ndarray
SUMS, RECORDS, RULES, CLIPS = -10_000, -30, -20, -10


@dataclass
class Built:
    """A network ready to run: `groups` and `synapses` by the names of the scheme.

    ``moved`` holds variables that lie in arrays of our own, {(node, variable): array}.
    """

    scheme: Scheme
    replicas: int
    clock: b2.Clock
    groups: dict[str, b2.Group] = field(default_factory=dict)
    synapses: dict[str, b2.Synapses] = field(default_factory=dict)
    equations: dict[str, b2.Equations] = field(default_factory=dict)
    wirings: dict[str, Wiring] = field(default_factory=dict)
    extra: list[b2.BrianObject] = field(default_factory=list)
    moved: dict[tuple[str, str], Array] = field(default_factory=dict)
    delayed: list[Delayed] = field(default_factory=list)

    def network(self) -> b2.Network:
        """Return the Network of all of it."""
        whole = b2.Network(*self.groups.values(), *self.synapses.values(), *self.extra)
        device.claim(whole)
        return whole

    def array(self, node: str, variable: str) -> Array:
        """Return a variable of a node as it lies in memory, (replicas * n,), in SI units."""
        if (node, variable) in self.moved:
            return self.moved[node, variable]
        return self.groups[node].variables[variable].get_value()

    def work(self, method: str) -> list[tuple[int, int]]:
        """Return of each cell and controller its operations in a step, and its units."""
        return [(device.STAGES[method] * operations(equations), len(self.groups[node]))
                for node, equations in self.equations.items()]


@device.code("numpy")
def build(
    scheme: Scheme,
    *,
    replicas: int,
    dt: float,
    method: str,
    attached: Mapping[tuple[str, str], Sequence[str]] | None = None,
    clamped: Sequence[tuple[str, str]] = (),
    varied: Mapping[str, Mapping[str, Array]] | None = None,
    trains: Mapping[str, tuple[Array, Array]] | None = None,
    added: Mapping[str, Sequence[Part]] | None = None,
    learning: bool = True,
) -> Built:
    """Build the groups and synapses of `replicas` copies that do not touch each other.

    Parameters
    ----------
    scheme : Scheme
    replicas : int
        Copies side by side; unit k of copy r has the index r * n + k.
    dt : float
        Time step in seconds.
    method : str
        Integrator of every differential equation.
    attached : dict of (population, compartment) to names, optional
        Symbols of stimuli that the sockets sum beside the links.
    clamped : sequence of (population, compartment), optional
        Compartments whose voltage can be held.
    varied : dict of population to dict of parameter to (replicas,), optional
        Parameters that differ between the copies.
    trains : dict of source to (indices, times), optional
        Spikes of the sources of spikes, indices over all copies, times in seconds.
    added : dict of node to list of Part, optional
        Text of populations and controllers beside that of their files.
    learning : bool
        False leaves the rules out.

    Returns
    -------
    Built

    Raises
    ------
    ModelError, EngineError
        When text does not fit together; the message names the file and what is missing.
    """
    attached, varied, trains = attached or {}, varied or {}, trains or {}
    built = Built(scheme, replicas, device.clock(dt, "steps"))
    plain = {name: composed(cell, {}) for name, cell in scheme.cells.items()}
    links = {link.name: link for link in scheme.links}
    built.wirings = {name: wire(link, scheme, plain, learning) for name, link in links.items()}
    for name, cell in scheme.cells.items():
        into = [link for link in scheme.links if link.target == name]
        sockets = {
            compartment: [*(built.wirings[k.name].symbol for k in into
                            if k.socket == compartment and built.wirings[k.name].symbol),
                          *attached.get((name, compartment), ())]
            for compartment in cell.compartments}
        parts = [*(built.wirings[k.name].target for k in into),
                 *(built.wirings[k.name].source for k in scheme.links if k.source == name),
                 *(added or {}).get(name, ())]
        bias = [built.wirings[k.name].bias for k in into if built.wirings[k.name].bias]
        held = [c for population, c in clamped if population == name]
        group, equations = cell_group(
            name, cell, scheme.sizes[name] * replicas, sockets, parts, bias, held,
            varied.get(name, {}), method, built.clock)
        built.groups[name], built.equations[name] = group, equations
    for name, controller in scheme.controllers.items():
        built.groups[name], built.equations[name] = controller_group(
            name, controller, scheme.sizes[name] * replicas, method, built.clock,
            (added or {}).get(name, ()))
    for name, kind in scheme.sources.items():
        built.groups[name] = source_group(
            name, kind, scheme.sizes[name] * replicas, trains.get(name), built.clock)
    for name, link in links.items():
        with reporting(link.where or name):
            built.synapses[name] = connect(
                link, built.wirings[name], scheme, built.groups, replicas, method, built.clock)
    _set_order(built, links)
    _delay(built, links)
    return built


def _delay(built: Built, links: Mapping[str, Link]) -> None:
    """Let what rules read late follow at the end of each update of the cells."""
    for name, link in links.items():
        for late in built.wirings[name].late:
            built.delayed.append(Delayed(
                built.array(link.target, late.of), built.array(link.target, late.variable),
                round(late.seconds / float(built.clock.dt))))
    if built.delayed:
        def follow() -> None:
            for delayed in built.delayed:
                delayed()

        built.extra.append(b2.NetworkOperation(follow, clock=built.clock, when="after_groups",
                                               name="late"))


def _set_order(built: Built, links: Mapping[str, Link]) -> None:
    for rank, name in enumerate(signal_path(links, built.equations, built.wirings)):
        synapses = built.synapses[name]
        for updater in synapses.summed_updaters.values():
            updater.order = SUMS + rank
    for name, synapses in built.synapses.items():
        if synapses.state_updater is not None:
            synapses.state_updater.order = RULES
        clip = built.wirings[name].clip
        if clip and built.wirings[name].continuous:
            synapses.run_regularly("\n".join(clip), when="groups", order=CLIPS)


def initialise(built: Built) -> None:
    """Set the rules' filters to their initial values, after those of the cells."""
    for name, link in {link.name: link for link in built.scheme.links}.items():
        wiring = built.wirings[name]
        with reporting(f"{link.where or name}: initial"):
            for part, group in ((wiring.target, built.groups[link.target]),
                                (wiring.source, built.groups[link.source]),
                                (wiring.synapses, built.synapses[name])):
                for variable, value in part.initial.items():
                    setattr(group, variable, value)
    for delayed in built.delayed:
        delayed.fill()
