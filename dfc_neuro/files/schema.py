"""What a model file may hold: cells, synapses, controllers, rules and circuits.

These are the TOML tables as frozen pydantic models; quantities stay as they are written.  What
the texts in them mean to one another is checked in `checks` and, for circuits, in `circuits`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    PrivateAttr,
    model_validator,
)

from dfc_neuro.errors import near
from dfc_neuro.files import text, units
from dfc_neuro.files.dimensions import dimension, evaluate
from dfc_neuro.files.units import Dimension, Quantity
from dfc_neuro.files.values import Connect, Extent, Read, RuleName, Start, Texts, Value, Weights


class Part(BaseModel):
    """A table of a file: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: object) -> object:
        if not isinstance(data, dict):
            raise ValueError(f"found {data!r}, a table is needed")
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for key in data:
            if key not in known:
                raise ValueError(f"unknown key '{key}'; {near(str(key), known)}")
        return data


class Description(Part):
    """What every file has: a kind, a summary, references and departures from them.

    `name` is the file's name, `path` where it lies, `label` how messages call it and `source`
    the table that was validated, ready for ``tomli_w``.
    """

    kind: str
    summary: str
    references: tuple[str, ...] = ()
    departures: tuple[str, ...] = ()

    _name: str = PrivateAttr(default="")
    _path: Path = PrivateAttr(default=Path())
    _label: str = PrivateAttr(default="")
    _source: dict = PrivateAttr(default_factory=dict)

    @property
    def name(self) -> str:
        return self._name

    @property
    def path(self) -> Path:
        return self._path

    @property
    def label(self) -> str:
        return self._label

    @property
    def source(self) -> dict:
        return self._source


class Constants(Description):
    """A file with `[functions]`, `[parameters]` and `[derived]` formulas of the parameters."""

    functions: dict[str, str] = Field(default_factory=dict)
    parameters: dict[str, Value] = Field(default_factory=dict)
    derived: dict[str, str] = Field(default_factory=dict)

    @cached_property
    def definitions(self) -> dict[str, text.Function]:
        """The one-line functions, parsed."""
        return text.definitions(self.functions, f"{self.label}: functions")

    @cached_property
    def constants(self) -> dict[str, Quantity]:
        """Parameters and derived formulas, with values in SI units."""
        found = {name: units.quantity(value, f"{self.label}: parameters.{name}")
                 for name, value in self.parameters.items()}
        for name, formula in self.derived.items():
            tree = self.expression(formula, f"derived.{name}")
            dims = dimension(tree, {n: q.dimensions for n, q in found.items()})
            assert dims is not None
            value = evaluate(tree, {n: q.value for n, q in found.items()})
            found[name] = Quantity(value, dims, f"{value!r} {units.unit_text(dims)}")
        return found

    def entered_by(self, parameter: str) -> set[str]:
        """Return a parameter and the derived constants whose formulas it enters."""
        found = {parameter}
        for name, formula in self.derived.items():
            if found & text.names(self.expression(formula, f"derived.{name}")):
                found.add(name)
        return found

    def inlined(self, lines: Iterable[text.Equation], key: str) -> tuple[text.Equation, ...]:
        """Return parsed lines with the functions of this file put in."""
        return tuple(
            line if line.tree is None else replace(line, tree=text.inline(
                line.tree, self.definitions, f"{self.label}: {key} line {line.line}"))
            for line in lines)

    def expression(self, formula: str, key: str) -> ast.expr:
        """Parse a formula of this file and put its functions in."""
        where = f"{self.label}: {key}"
        return text.inline(text.expression(formula, where, self.definitions),
                           self.definitions, where)


class Compartment(Part):
    """A socket: the voltage, and the input symbol that the equations use and do not define.

    `unit` of the input is found from the equations and need be given only if they leave it open.
    `scale` is a formula of the cell's constants: what w = 1 means where a projection gives none.
    """

    voltage: str
    input: str
    unit: str | None = None
    scale: str | None = None


class Spike(Part):
    """When a cell spikes, the statements that follow, and those at the end of its dead time."""

    when: str
    reset: Texts = ()
    release: Texts = ()


class Cell(Constants):
    """A cell: equations, compartments with their sockets, and what may be read from it."""

    kind: Literal["cell"]
    equations: str
    compartments: dict[str, Compartment]
    observables: dict[str, str] = Field(default_factory=dict)
    axon: dict[str, str] = Field(default_factory=dict)
    spike: Spike | None = None
    refractory: Start | None = None
    initial: dict[str, Start] = Field(default_factory=dict)
    variants: dict[str, str] = Field(default_factory=dict)

    _inputs: dict[str, Dimension] = PrivateAttr(default_factory=dict)

    @cached_property
    def lines(self) -> tuple[text.Equation, ...]:
        """The lines of `equations`, parsed, functions not yet put in."""
        return text.equations(self.equations, f"{self.label}: equations", self.definitions)

    @cached_property
    def states(self) -> tuple[str, ...]:
        """Names of the variables that are stored: differential equations and plain states."""
        return tuple(line.name for line in self.lines if line.kind != "subexpression")

    @property
    def inputs(self) -> dict[str, Dimension]:
        """The dimension of what each compartment takes, by compartment."""
        return self._inputs

    @cached_property
    def offers(self) -> dict[str, Dimension]:
        """Everything that rules, controllers and records may read, with its dimension."""
        found = {line.name: line.dims for line in self.lines}
        found |= {name: q.dimensions for name, q in self.constants.items()}
        for name, observable in self.observables.items():
            where = f"{self.label}: observables.{name}"
            found[name] = text.with_unit(observable, where, self.definitions)[2]
        return found

    def sent(self, name: str) -> str:
        """Return the variable that others read under a name: that of the axon, if it has one."""
        return f"{name}_axon" if name in self.axon else name

    def unit_of_weight(self, compartment: str) -> Quantity:
        """Return what w = 1 is to a compartment on projections that give no scale of their own."""
        formula = self.compartments[compartment].scale
        if formula is None:
            return Quantity(1.0, units.DIMENSIONLESS, "1")
        tree = self.expression(formula, f"compartments.{compartment}.scale")
        dims = dimension(tree, {n: q.dimensions for n, q in self.constants.items()})
        assert dims is not None
        value = evaluate(tree, {n: q.value for n, q in self.constants.items()})
        return Quantity(value, dims, f"{value:.6g} {units.unit_text(dims)}")

    def brian2(self):
        """Return Brian2 Equations and a dictionary of parameter quantities for a NeuronGroup.

        Sockets become plain variables that the user may set or sum into.
        """
        from dfc_neuro.brian.cells import equations_and_parameters

        return equations_and_parameters(self)


class Synapse(Constants):
    """What a presynaptic spike adds, and the current into the compartment it sits on.

    A file with `release` instead of `current` is the short-term plasticity of any synapse: `on_pre`
    runs before a spike is transmitted, `release` multiplies its weight, `after` follows.
    """

    kind: Literal["synapse"]
    equations: str = ""
    on_pre: Texts = ()
    current: str = ""
    release: str = ""
    after: Texts = ()
    initial: dict[str, Start] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one(self) -> Synapse:
        if bool(self.current) == bool(self.release):
            raise ValueError("a synapse has either 'current' or 'release'")
        if self.after and not self.release:
            raise ValueError("'after' belongs to 'release'")
        return self

    @cached_property
    def lines(self) -> tuple[text.Equation, ...]:
        """The lines of `equations`, parsed."""
        return text.equations(self.equations, f"{self.label}: equations", self.definitions)


class Controller(Constants):
    """A controller: one unit for each unit that it reads."""

    kind: Literal["controller"]
    equations: str
    reads: dict[str, Read]
    initial: dict[str, Start] = Field(default_factory=dict)

    @cached_property
    def lines(self) -> tuple[text.Equation, ...]:
        """The lines of `equations`, parsed."""
        return text.equations(self.equations, f"{self.label}: equations", self.definitions)

    @cached_property
    def offers(self) -> dict[str, Dimension]:
        """What projections and rules may read; ``NAME_next`` is its value one step later."""
        found = {line.name: line.dims for line in self.lines}
        return found | {f"{name}_next": dims for name, dims in found.items()}


class Reads(Part):
    """What a rule reads on each side: name and unit; ``spikes = true``."""

    post: dict[str, Read] = Field(default_factory=dict)
    pre: dict[str, Read] = Field(default_factory=dict)


class Rule(Constants):
    """A plasticity rule; `pre`, `post` and `synapse` say where a state lives.

    `late` holds filters of `post` that the synapse reads some time late.  `initial.w` is the weight
    that the amplitudes are meant for, where a synapse under test starts.
    """

    kind: Literal["rule"]
    reads: Reads
    pre: str = ""
    post: str = ""
    synapse: str = ""
    bias: str = ""
    on_pre: Texts = ()
    on_post: Texts = ()
    initial: dict[str, Start] = Field(default_factory=dict)
    late: dict[str, Value] = Field(default_factory=dict)
    bounds: dict[str, tuple[float, float]] = Field(default_factory=dict)

    def part(self, side: str) -> tuple[text.Equation, ...]:
        """Return the parsed lines of ``pre``, ``post``, ``synapse`` or ``bias``."""
        return text.equations(getattr(self, side), f"{self.label}: {side}", self.definitions)


class Population(Part):
    """Neurons of one cell, or a source of rates or spikes; functions may replace the cell's.

    `extent` holds the sides of the line, rectangle or box that they lie in.  A unit may be several
    cells that share their input and of whose output the mean is read.
    """

    n: PositiveInt
    cells_per_unit: PositiveInt = 1
    extent: Extent = ()
    cell: str | None = None
    source: Literal["rate", "spikes"] | None = None
    functions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one(self) -> Population:
        if (self.cell is None) == (self.source is None):
            raise ValueError("a population has either a cell or a source")
        if self.source is not None and self.functions:
            raise ValueError("a source has no functions")
        return self


class ControllerUse(Part):
    """A controller in a circuit: its model, what it reads, and parameters that differ."""

    model: str
    settings: dict[str, Start] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: object) -> object:
        if not isinstance(data, dict):
            raise ValueError(f"found {data!r}, a table is needed")
        rest = {key: value for key, value in data.items() if key != "model"}
        return {key: data[key] for key in data if key == "model"} | {"settings": rest}


class Projection(Part):
    """Weights from an observable to a compartment, with the rule that changes them."""

    from_: str = Field(alias="from")
    to: str
    connect: Connect = "all"
    w: Weights = 1.0
    rule: RuleName = None
    synapse: str | None = None
    release: str | None = None
    scale: Value | None = None
    delay: Value | None = None
    bias: bool | None = None


class Circuit(Description):
    """Populations, controllers and the projections between them.

    `cells` and `rules` of a loaded circuit are the models that its populations and projections
    name, with every change that the circuit makes; the file's tables of the same names, which set
    a parameter of all of them, are `cell_parameters` and `rule_parameters`.
    """

    kind: Literal["circuit"]
    populations: dict[str, Population]
    controllers: dict[str, ControllerUse] = Field(default_factory=dict)
    projections: dict[str, Projection] = Field(default_factory=dict)
    cell_parameters: dict[str, Value] = Field(default_factory=dict, alias="cells")
    rule_parameters: dict[str, Value] = Field(default_factory=dict, alias="rules")

    _cells: dict[str, Cell] = PrivateAttr(default_factory=dict)
    _controllers: dict[str, Controller] = PrivateAttr(default_factory=dict)
    _rules: dict[str, Rule] = PrivateAttr(default_factory=dict)
    _synapses: dict[str, Synapse] = PrivateAttr(default_factory=dict)
    _releases: dict[str, Synapse] = PrivateAttr(default_factory=dict)

    @property
    def cells(self) -> dict[str, Cell]:
        """The cell of each population that has one."""
        return self._cells

    def scale(self, name: str) -> Quantity:
        """Return what w = 1 means on a projection: its own scale, or that of the compartment."""
        projection = self.projections[name]
        population, _, compartment = projection.to.partition(".")
        if projection.scale is None and projection.synapse is None:
            return self.cells[population].unit_of_weight(compartment)
        return units.quantity(1 if projection.scale is None else projection.scale,
                              f"{self.label}: projections.{name}.scale")

    @property
    def controller_models(self) -> dict[str, Controller]:
        """The model of each controller, its parameters as the circuit sets them."""
        return self._controllers

    @property
    def rules(self) -> dict[str, Rule]:
        """The rule of each projection that has one."""
        return self._rules

    @property
    def synapses(self) -> dict[str, Synapse]:
        """The synapse of each projection that has one."""
        return self._synapses

    @property
    def releases(self) -> dict[str, Synapse]:
        """The short-term plasticity of each projection that has one."""
        return self._releases
