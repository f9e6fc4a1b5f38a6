"""What a protocol file may hold: recordings (fixed time, stimuli) and learning experiments.

Keys with dots name keys elsewhere: of the protocol itself (``stimuli.pulse.amplitude``) or of the
model that it runs on (``controllers.control.k_p``).  Putting them in is the work of `resolve`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    model_validator,
)

from dfc_neuro.errors import near
from dfc_neuro.files.keys import flat
from dfc_neuro.files.schema import Cell, Circuit, Description, Part, Rule, Synapse
from dfc_neuro.files.values import (
    Duration,
    Keys,
    Level,
    Method,
    Plain,
    Step,
    Texts,
    Time,
    Weights,
)


class When(Part):
    """Keys that are set when others have given values; later matches set more."""

    match: Keys
    set: Keys


class Protocol(Description):
    """What recordings and learning experiments share.

    A resolved protocol has `circuit` or `cell`, the model it runs on with every change made to
    it.  `set` holds keys of that model, `variables` names that only `match` and placeholders use.
    """

    on: str
    extends: str | None = None
    when: tuple[When, ...] = ()
    quick: Keys = Field(default_factory=dict)
    set: Keys = Field(default_factory=dict)
    variables: Keys = Field(default_factory=dict)
    measure: dict[str, Keys] = Field(default_factory=dict)

    _circuit: Circuit | None = PrivateAttr(default=None)
    _cell: Cell | None = PrivateAttr(default=None)

    @property
    def circuit(self) -> Circuit | None:
        """The circuit it runs on, or None."""
        return self._circuit

    @property
    def cell(self) -> Cell | None:
        """The cell it runs on, or None."""
        return self._cell


class RecordingNumerics(Part):
    """Engine, method and step of a recording.

    `transmission`, `proactive`, `instant_system` and `integrator` are options of the rate engine.
    `dt` is a time, or for a rate network a number in units of tau_u; `bound` is the largest value
    that a state may have.
    """

    engine: Literal["brian", "rates"] = "brian"
    method: Method | None = None
    dt: Step | None = None
    target: Literal["auto", "numpy", "cython", "numba", "cpp_standalone"] = "auto"
    bound: PositiveFloat | None = None
    integrator: Literal["euler", "fast"] | None = None
    precision: Literal["float64", "float32"] | None = None
    threads: PositiveInt | None = None
    transmission: Literal["instant", "delayed"] | None = None
    proactive: bool | None = None
    instant_system: bool | None = None


class Train(Part):
    """Spikes: n at a rate, from `start`, the whole repeated every so often."""

    n: PositiveInt = 1
    rate: Level | None = None
    start: Time = "0 ms"
    repeat: PositiveInt = 1
    every: Time | None = None


class Burst(Part):
    """Several onsets in the place of one: n at a rate; `aligned` says which one is timed."""

    n: PositiveInt
    rate: Level
    aligned: Literal["first", "last"] = "first"


# type: keys it needs, keys it may have
STIMULI: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "step": (frozenset({"amplitude"}),
             frozenset({"from", "to", "locked_to", "after", "width", "burst", "reversal"})),
    "pulse": (frozenset({"amplitude", "start", "width"}),
              frozenset({"repeat", "every", "reversal"})),
    "sine": (frozenset({"amplitude", "frequency"}), frozenset({"mean", "from", "to", "reversal"})),
    "epsc": (frozenset({"amplitude", "tau_rise", "tau_decay"}),
             frozenset({"start", "locked_to", "after", "reversal"})),
    "white": (frozenset({"sigma"}), frozenset({"mean", "from", "to"})),
    "ou": (frozenset({"sigma", "tau"}), frozenset({"mean", "from", "to"})),
    "patterns": (frozenset({"values", "width"}), frozenset({"from", "to", "order"})),
    "spikes": (frozenset(), frozenset({"times", "train"})),
    "poisson": (frozenset({"rate"}), frozenset({"from", "to", "repeat", "every"})),
    "clamp": (frozenset({"voltage"}), frozenset({"from", "to"})),
}


class Stimulus(Part):
    """One stimulus on a socket, on a synapse under test or on a population.

    `at` is a compartment, ``population.compartment``, a plastic synapse or a source.  `sigma` of
    white noise is the standard deviation of its integral over a unit of time (``"5 pA*ms**0.5"``),
    of an Ornstein-Uhlenbeck process (``ou``) that of its values, with the time constant `tau`.
    `values` of patterns are lists with a value for each unit; each is shown for `width`.
    `amplitude` of an epsc is its peak.  With a `reversal` the stimulus is a conductance.
    """

    type: str
    at: str
    amplitude: Level | None = None
    from_: Time | None = Field(default=None, alias="from")
    to: Time | None = None
    start: Time | None = None
    width: Time | None = None
    repeat: PositiveInt | None = None
    every: Time | None = None
    locked_to: str | None = None
    after: Time | None = None
    burst: Burst | None = None
    frequency: Level | None = None
    reversal: Level | None = None
    tau_rise: Time | None = None
    tau_decay: Time | None = None
    values: tuple[tuple[Level, ...], ...] | None = None
    order: Literal["cycle", "random"] | None = None
    tau: Time | None = None
    sigma: Level | None = None
    mean: Level | None = None
    rate: Level | None = None
    voltage: Level | None = None
    times: tuple[Time, ...] | None = None
    train: Train | None = None

    @model_validator(mode="before")
    @classmethod
    def _fits_type(cls, data: object) -> object:
        if not isinstance(data, dict) or not isinstance(data.get("type"), str):
            return data
        kind = data["type"]
        if kind not in STIMULI:
            raise ValueError(f"unknown type '{kind}'; {near(kind, STIMULI)}")
        needed, allowed = STIMULI[kind]
        for key in sorted(needed - set(data)):
            raise ValueError(f"a stimulus of type '{kind}' needs '{key}'")
        for key in sorted(set(data) - needed - allowed - {"type", "at"}):
            raise ValueError(f"a stimulus of type '{kind}' has no key '{key}'; "
                             f"{near(key, needed | allowed)}")
        if kind == "spikes" and ("times" in data) == ("train" in data):
            raise ValueError("a stimulus of type 'spikes' has either 'times' or 'train'")
        if ("locked_to" in data) and ("from" in data or "start" in data):
            raise ValueError("a stimulus is locked_to another or has a time of its own, not both")
        return data


class Plastic(Part):
    """Plastic synapses under test on a cell; `synapse` ``none`` adds no current.

    `n` of them sit on each unit.  `parameters` replaces some of the rule's.  They start at `w`, at
    the rule's own ``initial.w`` or, without either, at 0.5.
    """

    at: str
    rule: str
    synapse: str = "none"
    n: PositiveInt = 1
    w: Weights | None = None
    scale: Level = 1
    parameters: dict[str, Level] = Field(default_factory=dict)


Reduction = Literal["mean", "min", "max", "sum"]


class Reduce(Part):
    """What is kept of the recorded units, and of the steps within each `every`."""

    units: Reduction | None = None
    time: Reduction | None = None

    @model_validator(mode="after")
    def _something(self) -> Reduce:
        if self.units is None and self.time is None:
            raise ValueError("reduces nothing; write units = \"mean\", or time = \"max\"")
        return self


class Record(Part):
    """What is recorded: names that the cell offers, ``spikes``, or measures of learning.

    `of` is a population, controller or synapse; `units` chooses some of its units; `every` is the
    sampling step, `reduce` what is kept of units and of the steps in between.  `samples`,
    `at_epochs` and `phase` say how many data samples a learning experiment records, after which
    epochs (negative: from the end) and in which phase.
    """

    what: Texts
    of: str | None = None
    every: Step | None = None
    units: tuple[int, ...] | None = None
    reduce: Reduce | None = None
    samples: PositiveInt | None = None
    at_epochs: tuple[int, ...] | None = None
    phase: str | None = None

    @model_validator(mode="after")
    def _reducible(self) -> Record:
        if self.reduce is None:
            return self
        if "spikes" in self.what:
            raise ValueError("reduce: spikes are not reduced; leave reduce out")
        if self.reduce.time is not None and self.every is None:
            raise ValueError("reduce.time: needs every, the window that it is taken over")
        return self


class RecordingProtocol(Protocol):
    """A fixed time, stimuli on sockets, conditions side by side, measures of the result."""

    kind: Literal["recording"]
    duration: Duration
    numerics: RecordingNumerics = RecordingNumerics()
    stimuli: dict[str, Stimulus] = Field(default_factory=dict)
    plastic: dict[str, Plastic] = Field(default_factory=dict)
    conditions: dict[str, Keys] = Field(default_factory=dict)
    over: dict[str, list[Plain]] = Field(default_factory=dict)
    record: dict[str, Record] = Field(default_factory=dict)
    data: Keys = Field(default_factory=dict)

    _rules: dict[str, Rule] = PrivateAttr(default_factory=dict)
    _synapses: dict[str, Synapse] = PrivateAttr(default_factory=dict)
    _conditions: tuple[tuple[str, RecordingProtocol], ...] = PrivateAttr(default=())

    @property
    def rules(self) -> dict[str, Rule]:
        """The rule of each synapse in `plastic`."""
        return self._rules

    @property
    def synapses(self) -> dict[str, Synapse]:
        """The synapse of each entry of `plastic` that is not ``none``."""
        return self._synapses


class LearningNumerics(Part):
    """Engine and step (a time, or a number in units of tau_u) of a learning experiment.

    `integrator` and `precision` (default float32) are of the rate engine.  Without an integrator,
    forward weights that learn by DFC do so by the closed form of the time average of Euler's steps
    ("averaged"), everything else by Euler's steps.  `method`, `target` and `read_out`, the time
    over which the outputs of held-out samples are counted (default 1 s), are of Brian2.
    """

    engine: Literal["rates", "brian"] = "rates"
    integrator: Literal["euler", "fast", "averaged"] | None = None
    dt: Step = 0.02
    precision: Literal["float64", "float32"] | None = None
    threads: PositiveInt | None = None
    bound: PositiveFloat | None = None
    method: Method | None = None
    target: Literal["auto", "numpy", "cython"] | None = None
    read_out: Duration | None = None


class Phase(Part):
    """One kind of pass over the data.

    Either `duration` (in units of tau_u) or `steps` (of numerics.dt).  `noise` is the standard
    deviation on hidden apical compartments, `noise_output` on the output's (default: the same).
    On cells that Brian2 runs, `free` is the length of the segment without control that each sample
    begins with, `read` the last part of the controlled one, in which rules read (default: all of
    it), and `tau_noise` the time constant that filters the noise; all in units of tau_u.
    Every other key is a key of the circuit, of its cells or of numerics; they are in `keys`.
    """

    duration: PositiveFloat | None = None
    steps: PositiveInt | None = None
    learn: Literal["W", "Q"]
    proactive: bool = False
    transmission: Literal["instant", "delayed"] = "instant"
    instant_system: bool = False
    noise: float = Field(default=0.0, ge=0)
    noise_output: float | None = Field(default=None, ge=0)
    target: Literal["loss", "own_output"] = "loss"
    free: PositiveFloat | None = None
    read: PositiveFloat | None = None
    tau_noise: PositiveFloat | None = None
    keys: Keys = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: object) -> object:
        if not isinstance(data, dict):
            raise ValueError(f"found {data!r}, a table is needed")
        own = {key for key in cls.model_fields if key != "keys"}
        found: dict[str, Any] = {"keys": {}}
        for key, value in flat(data).items():
            if key in own:
                found[key] = value
            elif "." in key and key.partition(".")[0] in PHASE_ROOTS:
                found["keys"][key] = value
            else:
                raise ValueError(f"unknown key '{key}'; {near(key, own)}")
        return found

    @model_validator(mode="after")
    def _one_length(self) -> Phase:
        if (self.duration is None) == (self.steps is None):
            raise ValueError("a phase has either 'duration' (in units of tau_u) or 'steps'")
        return self


# first words of keys that change the model, and of those that a phase may set
MODEL_ROOTS = ("populations", "controllers", "projections", "cells", "rules")
CELL_ROOTS = ("parameters", "functions", "initial", "cells")
PHASE_ROOTS = (*MODEL_ROOTS, "numerics")


class Schedule(Part):
    """Passes before the first epoch, the phases of an epoch in order, and how many epochs."""

    before: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    epoch: tuple[str, ...] = ()
    epochs: int = Field(ge=0)


class LearningProtocol(Protocol):
    """Data, phases, optimisers and epochs; time is in units of the controller's tau_u."""

    kind: Literal["learning"]
    method: str
    layers: tuple[PositiveInt, ...] | None = None
    feedback: Literal["learned", "expected", "fixed_point", "fixed", "random"] = "learned"
    as_published: bool = False
    keep_unconverged: bool = False
    numerics: LearningNumerics = LearningNumerics()
    data: Keys
    phases: dict[str, Phase]
    schedule: Schedule
    optimisers: dict[str, Keys] = Field(default_factory=dict)
    diagnostics: Keys = Field(default_factory=dict)
    record: dict[str, Record] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names(self) -> LearningProtocol:
        for name in (*self.schedule.before, *self.schedule.epoch):
            if name not in self.phases:
                raise ValueError(f"schedule: unknown phase '{name}'; {near(name, self.phases)}")
        if "name" not in self.data:
            raise ValueError("data.name: is missing")
        for key, options in self.optimisers.items():
            if key not in ("W", "Q"):
                raise ValueError(f"optimisers: unknown key '{key}', known: Q, W")
            if not isinstance(options.get("name"), str):
                raise ValueError(f"optimisers.{key}.name: is missing")
        return self
