"""What a learning protocol asks for, resolved to the objects that do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dfc_neuro.datasets._dataset import Dataset
from dfc_neuro.files.schema import Circuit, Rule
from dfc_neuro.learning.timing import Timing
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.layered import Layered


@dataclass(frozen=True)
class Phase:
    """One kind of pass over the data: which weights learn, under which constants of control."""

    name: str
    learn: str  # "W" or "Q"
    own_output: bool  # the target is the network's own output


@dataclass(frozen=True)
class RatePhase(Phase):
    """A phase that the kernels run."""

    control: Control
    rule: RuleKernel


@dataclass(frozen=True)
class TextPhase(Phase):
    """A phase that Brian2 runs from the text of cells, controller and rules.

    `timing` counts steps; `noise` is the standard deviation of the apical compartments of each
    layer and the time constant of it, in steps; `rules` are those of the projections that learn.
    """

    circuit: Circuit
    timing: Timing
    noise: tuple[tuple[float, float], ...]
    rules: dict[str, Rule]
    noise_scale: float | None  # instead of the cells', where the circuit sets none


@dataclass(frozen=True)
class Brian:
    """How Brian2 runs: step and read-out of held-out samples in seconds, integrator, target."""

    dt: float
    read_out: float
    method: str
    target: str


@dataclass(frozen=True)
class Pass:
    """One pass over the training data; `epoch` counts from 1 and is 0 before the first."""

    phase: Phase
    epoch: int
    ends_epoch: bool


@dataclass(frozen=True)
class Plan:
    """Everything that a training run needs, before the first random number is drawn."""

    label: str  # of the protocol, for messages
    layered: Layered
    method: Any
    method_name: str
    feedback: str  # learned, fixed or random
    dataset: Dataset
    phases: tuple[Phase, ...]
    passes: tuple[Pass, ...]
    batch: int
    loss: str
    nudge: float
    optimisers: dict[str, dict]
    dtype: np.dtype
    threads: int | None
    keep_unconverged: bool
    as_published: bool
    record: dict[str, Any]  # name: files.protocols.Record
    diagnostics: dict[str, Any]  # samples, gamma
    bound: float  # a voltage's deviation beyond which the run stops
    seed: int
    brian: Brian | None = None

    @property
    def averaged(self) -> bool:
        """Whether forward weights learn by the closed form of the time average."""
        phase = self.control_phase()
        return self.method_name == "dfc" and isinstance(phase, RatePhase) \
            and phase.control.integrator == "averaged"

    @property
    def linear_feedback(self) -> bool:
        """Whether noise meets a linearised network in phases of feedback weights."""
        return self.feedback == "learned" and any(
            isinstance(one.phase, RatePhase) and one.phase.learn == "Q"
            and one.phase.control.integrator == "averaged" for one in self.passes)

    @property
    def epochs(self) -> int:
        return self.passes[-1].epoch if self.passes else 0

    def control_phase(self) -> Phase | None:
        """Return the first phase in which forward weights learn."""
        return next((phase for phase in self.phases if phase.learn == "W"), None)
