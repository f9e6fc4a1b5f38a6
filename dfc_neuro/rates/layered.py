"""From a circuit's tables to the layered network that the rate kernels run."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from dfc_neuro.errors import EngineError
from dfc_neuro.files import text
from dfc_neuro.files.schema import Cell, Circuit, Projection, Rule
from dfc_neuro.files.units import Quantity, quantity
from dfc_neuro.initialisers._shape import Place
from dfc_neuro.rates.canonical import (
    REMEDY,
    check_cell,
    check_controller,
    check_observable,
    nonlinearity,
)
from dfc_neuro.rates.compile import RuleKernel, compile_rule
from dfc_neuro.rates.network import Network, jacobian_of
from dfc_neuro.registry import get

RECORD = "engine 'brian' runs any circuit in a recording protocol"


@dataclass(frozen=True)
class Layered:
    """A feedforward network with one controller.

    `forward` and `feedback` name the projections of W_1..W_L and Q_1..Q_L ("" for a Q that the
    circuit does not have).  `skips` are those of :class:`Network`, `skip_names` their projections;
    `trained_biases` the layers (from 0) whose b learns with one of the projections to them.
    """

    circuit: Circuit
    populations: tuple[str, ...]
    sizes: tuple[int, ...]
    nonlinearities: tuple[str, ...]
    forward: tuple[str, ...]
    feedback: tuple[str, ...]
    controller: str
    slow_apical: bool
    skips: tuple[tuple[int, int], ...]
    skip_names: tuple[str, ...]
    trained_biases: tuple[int, ...]

    @property
    def weights(self) -> tuple[str, ...]:
        """The projections of all W, in the order of :class:`Network`."""
        return self.forward + self.skip_names

    @property
    def trained_forward(self) -> list[int]:
        """Numbers, from 0, of the W that have a rule."""
        return [i for i, name in enumerate(self.weights) if name in self.circuit.rules]

    @property
    def trained_feedback(self) -> list[int]:
        """Layers (from 0) whose Q has a rule."""
        return [i for i, name in enumerate(self.feedback) if name in self.circuit.rules]

    def cell(self, layer: int) -> Cell:
        """Return the cell of a layer, counted from 0 after the input."""
        return self.circuit.cells[self.populations[layer + 1]]

    def in_units_of_tau_u(self, name: str) -> float:
        """Return a time constant of the cells over that of the controller.

        A plain number counts in units of tau_u already.
        """
        values = {self._ratio(self.cell(i), name) for i in range(len(self.forward))}
        if len(values) > 1:
            raise EngineError(f"{self.circuit.label}: populations",
                              f"{name} differs between layers; the rate engine has one", REMEDY)
        return values.pop()

    def _ratio(self, cell: Cell, name: str) -> float:
        value = cell.constants[name]
        if not any(value.dimensions):
            return value.value
        tau_u: Quantity = self.circuit.controller_models[self.controller].constants["tau_u"]
        return value.value / (tau_u.value if any(tau_u.dimensions) else 1.0)

    def in_tau_u(self, time: float | str, where: str) -> float:
        """Return a time in units of tau_u; a plain number is in these already."""
        value = quantity(time, where)
        if not any(value.dimensions):
            return value.value
        return value.value / self.circuit.controller_models[self.controller].constants[
            "tau_u"].value

    def control_constant(self, name: str) -> float:
        """Return a parameter of the controller, in SI units."""
        return self.circuit.controller_models[self.controller].constants[name].value

    def draw(self, rng: np.random.Generator, feedback: str = "learned") -> Network:
        """Draw weights: those of the circuit, or weight products for fixed feedback.

        Skip projections have random numbers of their own, so that one more changes no other weight.
        """
        n_L, projections, own = self.sizes[-1], self.circuit.projections, rng.spawn(1)[0]
        net = Network([], [np.zeros(n) for n in self.sizes[1:]], [], self.nonlinearities,
                      self.skips)
        for name, (i, j) in zip(self.weights, net.links, strict=True):
            net.W.append(_draw(projections[name], Place(self.sizes[i + 1], self.sizes[j]),
                               rng if i == j else own,
                               f"{self.circuit.label}: projections.{name}"))
        for i, name in enumerate(self.feedback):
            place = Place(self.sizes[i + 1], n_L, self._above(net, i))
            if feedback == "fixed":
                net.Q.append(get("initialisers", "weight_product", "feedback").draw(place, rng))
            elif name:
                net.Q.append(_draw(projections[name], place, rng,
                               f"{self.circuit.label}: projections.{name}"))
            else:
                net.Q.append(np.zeros((place.n_to, n_L)))
        return net

    def _above(self, net: Network, layer: int) -> tuple[np.ndarray, ...]:
        """Return W_{i+2}, ..., W_L; with skip projections their product, summed over all paths."""
        if not net.skips or layer == net.depth - 1:
            return tuple(net.W[layer + 1:net.depth])
        return (jacobian_of(net, [np.ones((1, n)) for n in net.sizes[1:]])[layer][0],)

    def rule(self, learn: str, noise_scale: float | None = None) -> RuleKernel:
        """Compile the rule of the forward ("W") or feedback ("Q") projections.

        Raises
        ------
        EngineError
            If the projections have different rules, or one that the rate level cannot run.
        """
        names = self.weights if learn == "W" else self.feedback
        rules = {name: self.circuit.rules[name] for name in names if name in self.circuit.rules}
        if not rules:
            raise EngineError(f"{self.circuit.label}: projections",
                              f"none of {', '.join(names)} has a rule", "give them a rule")
        first = next(iter(rules.values()))
        for name, rule in rules.items():
            if rule.source != first.source or rule.constants != first.constants:
                raise EngineError(f"{self.circuit.label}: projections.{name}",
                                  "has another rule than its siblings; the rate engine has one "
                                  "for all W and one for all Q", REMEDY)
        for i in range(len(self.forward)):
            for observable in first.reads.post:
                check_observable(self.cell(i), observable)
            own = self.cell(i).constants.get("noise_scale")
            if "noise_scale" in first.reads.post and noise_scale is None \
                    and own != self.cell(0).constants["noise_scale"]:
                raise EngineError(f"{self.circuit.label}: populations", "noise_scale differs "
                                  "between layers; the rate engine has one", REMEDY)
        kernel = _compile(first, self.cell(0), noise_scale)
        if kernel.feedback != (learn == "Q"):
            raise EngineError(first.label, f"reads {', '.join(first.reads.pre)} on its presynaptic "
                              f"side, which projections of {learn} do not offer", REMEDY)
        if kernel.by_synapse and learn == "Q":
            raise EngineError(first.label, "is no sum of products of pre- and postsynaptic "
                              "factors; one for feedback weights has to be, for it is read at "
                              "every time step", REMEDY)
        return kernel


def _draw(projection: Projection, place: Place, rng: np.random.Generator, where: str) -> np.ndarray:
    w = projection.w
    if isinstance(w, int | float):
        return np.full((place.n_to, place.n_from), float(w))
    if isinstance(w, dict) and "like" in w:
        raise EngineError(f"{where}.w.like", "the rate engine draws each layer's weights by itself",
                          "write an initialiser")
    name = w["name"] if isinstance(w, dict) else w
    return get("initialisers", name, f"{where}.w").draw(place, rng)


def _compile(rule: Rule, cell: Cell, noise_scale: float | None) -> RuleKernel:
    if rule.on_pre or rule.on_post or rule.reads.pre.get("spikes") or rule.reads.post.get("spikes"):
        raise EngineError(rule.label, "needs spikes, which the rate level does not have",
                          "run it on spiking cells with engine 'brian'")
    for side in ("pre", "post", "synapse"):
        states = [line.name for line in rule.part(side) if line.name != "w"]
        if states:
            raise EngineError(
                f"{rule.label}: {side}", f"has variables of its own ({', '.join(states)}), which "
                "the rate engine does not follow through time", "engine 'brian' does, on rate "
                "cells and on spiking cells: run the circuit with a recording protocol and "
                'numerics.engine = "brian"')

    def right_side(side: str, name: str) -> str | None:
        lines = rule.part(side)
        if not lines:
            return None
        if lines[0].name != name or lines[0].tree is None or lines[0].kind != "differential":
            raise EngineError(f"{rule.label}: {side}", f"has no equation d{name}/dt", REMEDY)
        tree = text.inline(lines[0].tree, rule.definitions, f"{rule.label}: {side}")
        return f"d{name}/dt = {ast.unparse(tree)} : 1"

    synapse = right_side("synapse", "w")
    if synapse is None:
        raise EngineError(f"{rule.label}: synapse", "is empty", "write dw/dt = ... : 1")
    parameters = {name: q.value for name, q in rule.constants.items()}
    if "noise_scale" in rule.reads.post:
        own = cell.constants["noise_scale"].value
        parameters["noise_scale_post"] = own if noise_scale is None else noise_scale
    kernel = compile_rule(synapse, right_side("bias", "b"), parameters, rule.label)
    return replace(kernel, bounds=rule.bounds.get("w"))


def layered(circuit: Circuit) -> Layered:
    """Return the layered network that a circuit describes, for the kernels.

    Raises
    ------
    EngineError
        If it is not a chain of all-to-all layers with one controller, or if the text of a cell or
        controller is not what the kernels compute.  The message names file, key and the engine
        that can run it.
    """
    found = chain(circuit)
    cells = [circuit.cells[name] for name in found.populations[1:]]
    label = circuit.label
    for name in (*found.weights, *filter(None, found.feedback)):
        if circuit.projections[name].scale not in (None, 1):
            raise EngineError(f"{label}: projections.{name}", "has a scale of its own; the rate "
                              "engine has none", REMEDY)
    check_controller(circuit.controller_models[found.controller])
    slow = {check_cell(cell) for cell in cells}
    if len(slow) > 1:
        raise EngineError(f"{label}: populations", "some cells have a slow apical compartment and "
                          "some not; the rate engine has one kind", REMEDY)
    for cell in cells:
        check_observable(cell, "rate")
    return replace(
        found, slow_apical=slow.pop(),
        nonlinearities=tuple(nonlinearity(cell, f"{label}: populations.{name}")
                             for name, cell in zip(found.populations[1:], cells, strict=True)))


def chain(circuit: Circuit) -> Layered:
    """Return the chain of layers, with its skip projections, that a circuit is.

    The text of its cells may be any.

    Raises
    ------
    EngineError
        If it is not a chain of all-to-all layers with one controller of the output's rate.
    """
    label = circuit.label
    sources = [name for name, p in circuit.populations.items() if p.source]
    if len(sources) != 1 or circuit.populations[sources[0]].source != "rate":
        raise EngineError(f"{label}: populations", "learning needs one source of rates, "
                          f"found {sources or 'none'}", RECORD)
    into: dict[str, dict[str, str]] = {name: {} for name in circuit.populations}
    feedback: dict[str, str] = {}
    for name, p in circuit.projections.items():
        where = f"{label}: projections.{name}"
        origin, _, read = p.from_.partition(".")
        target, _, compartment = p.to.partition(".")
        if p.connect != "all" or p.synapse or p.delay is not None:
            raise EngineError(where, "has a connect, synapse or delay of its own; dense weights "
                              "learn, without delay", RECORD)
        if origin in circuit.controllers and read == "u" and compartment == "apical":
            known, key = feedback, target
            if p.bias:
                raise EngineError(f"{where}.bias", "is true; the bias of a layer learns with its "
                                  "W", RECORD)
        elif origin in circuit.populations and read == "rate" and compartment == "basal":
            known, key = into[target], origin
        else:
            raise EngineError(where, f"goes from {p.from_} to {p.to}; learning takes rates to "
                              "basal and the control u to apical compartments", RECORD)
        if key in known:
            raise EngineError(where, f"is a second projection from {p.from_} to {p.to}; learning "
                              f"takes one, '{known[key]}'", RECORD)
        known[key] = name
    order = _order(circuit, sources[0], into)
    if len(circuit.controllers) != 1:
        raise EngineError(f"{label}: controllers", f"has {len(circuit.controllers)}; learning "
                          "takes one", RECORD)
    ((controller, use),) = circuit.controllers.items()
    if use.settings.get("y") != f"{order[-1]}.rate":
        raise EngineError(f"{label}: controllers.{controller}.y", f"is {use.settings.get('y')!r}; "
                          f"in learning it controls '{order[-1]}.rate'", RECORD)
    skips = {(i, j): into[name][order[j]] for i, name in enumerate(order[1:])
             for j in range(i) if order[j] in into[name]}
    return Layered(
        circuit, tuple(order), tuple(circuit.populations[name].n for name in order), (),
        tuple(into[name][below] for below, name in itertools.pairwise(order)),
        tuple(feedback.get(name, "") for name in order[1:]), controller, False,
        tuple(skips), tuple(skips.values()),
        tuple(i for i, name in enumerate(order[1:]) if _bias_learns(circuit, into[name].values())))


def _order(circuit: Circuit, source: str, into: dict[str, dict[str, str]]) -> list[str]:
    """Return the populations from input to output: each reads the one before, and earlier ones."""
    order, label = [source], circuit.label
    while len(order) < len(circuit.populations):
        left = [name for name in circuit.populations if name not in order]
        above = [name for name in left if order[-1] in into[name]]
        ready = [name for name in above if set(into[name]) <= set(order)]
        if above and not ready:
            name, origin = next((into[above[0]][origin], origin) for origin in into[above[0]]
                                if origin not in order)
            raise EngineError(f"{label}: projections.{name}", f"goes from {origin} back to "
                              f"{above[0]}: recurrent projections do not learn", RECORD)
        if len(ready) != 1:
            raise EngineError(f"{label}: populations", f"is not a chain of layers: "
                              f"{', '.join(sorted(left))} stand beside it", RECORD)
        order += ready
    return order


def _bias_learns(circuit: Circuit, names: Iterable[str]) -> bool:
    """Return whether the bias of a layer learns, with one of the projections to it."""
    biases = {name: circuit.projections[name].bias for name in names}
    learning = [name for name in biases if name in circuit.rules]
    if list(biases.values()) == [False]:
        raise EngineError(f"{circuit.label}: projections.{min(biases)}.bias", "is false; the bias "
                          "of a layer learns with its W", RECORD)
    if len(learning) > 1 and set(biases.values()) == {None}:
        raise EngineError(f"{circuit.label}: projections.{learning[0]}.bias", "is not given, and "
                          f"{', '.join(learning)} go to one layer, which has one bias",
                          "write bias = true on the one that it learns with, or false on all")
    return any(biases[name] or (biases[name] is None and len(learning) == 1) for name in learning)
