"""What a method is given of one minibatch, and what it gives back.

A method is a module with ``update(batch) -> Step``, and ``USES_Q``: whether it needs trained
feedback weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Forward, Network, Update
from dfc_neuro.rates.simulate import BOUND, Controlled

Array = np.ndarray


@dataclass(frozen=True)
class Minibatch:
    """One minibatch before it is learned.

    ``delta`` (B, n_L) is the output target minus the feedforward output,
    -lambda dLoss/dr_L; ``nudge`` is lambda.  A voltage whose deviation passes ``bound`` stops the
    run; 0 turns the guard off.
    """

    net: Network
    fwd: Forward
    delta: Array
    nudge: float
    control: Control
    rule: RuleKernel
    seed: int = 0
    threads: int | None = None
    keep_unconverged: bool = True
    as_published: bool = False
    bound: float = BOUND


@dataclass
class Step:
    """The update of one minibatch, and how many samples converged, diverged or did neither.

    With the integrator "averaged", `newton` is 1 where the closed form needed a Newton step, and
    `stepped` is the number of samples for which it gave way to time steps.
    """

    update: Update
    converged: int = 0
    diverged: int = 0
    neither: int = 0
    controlled: Controlled | None = None
    newton: int = 0
    stepped: int = 0
