"""The state of a network at one minibatch, as the diagnostics see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dfc_neuro.errors import InputError
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Forward, Network, Update, forward, jacobian

Array = np.ndarray


@dataclass(frozen=True)
class Snapshot:
    """One minibatch of B samples, and what a method made of it.

    Everything is measured in float64: arrays of another precision are converted, and the
    feedforward pass of a converted network is run again.

    Parameters
    ----------
    net : Network
        Weights, biases, feedback weights.
    fwd : Forward
        The feedforward pass of the minibatch.
    delta : (B, n_L)
        Output target minus feedforward output, -lambda dLoss/dr_L.
    update : Update, optional
        The method's ascent direction; needed by the angles and the nullspace ratio.
    control : Control, optional
        Constants of the control phase: alpha, k_p and tau are used.
    gamma : float
        Damping of the reference updates and of the pseudoinverse.
    final : mapping, optional
        The last controlled state: ``r_L`` (B, n_L), ``u`` (B, n_L), ``v`` list of (B, n_i).
    nonlinear : bool
        Whether the MN and SSA references take differences of rates instead of voltages, as the
        published ones do beside the rule `nonlinear_difference`.
    target_stepsize : float
        lambda; the nonlinear MN reference takes the full step delta / lambda.
    as_published : bool
        Condition 1 by the formula of the published code.
    """

    net: Network
    fwd: Forward
    delta: Array
    update: Update | None = None
    control: Control | None = None
    gamma: float = 0.0
    final: Mapping[str, Any] | None = None
    nonlinear: bool = True
    target_stepsize: float = 1.0
    as_published: bool = False

    def __post_init__(self) -> None:
        if self.net.dtype != np.float64:
            net = self.net.astype(np.float64)
            object.__setattr__(self, "net", net)
            object.__setattr__(self, "fwd", forward(net, np.asarray(self.fwd.x, np.float64)))
        object.__setattr__(self, "delta", np.asarray(self.delta, np.float64))

    @cached_property
    def jacobian(self) -> list[Array]:
        """J_i = d r_L / d v_i at the feedforward state, a list of (B, n_L, n_i)."""
        return jacobian(self.net, self.fwd)

    def need_update(self, name: str) -> Update:
        """Return the method's update, or say that diagnostic `name` cannot do without."""
        if self.update is None:
            raise _missing(name, "an update of W and b")
        return Update(*([np.asarray(a, np.float64) for a in part]
                        for part in (self.update.dW, self.update.db)))

    def need_control(self, name: str) -> Control:
        """Return the constants of control, or say that diagnostic `name` needs them."""
        if self.control is None:
            raise _missing(name, "a method with a controller")
        return self.control

    def need_Q(self, name: str) -> list[Array]:
        """Return the feedback weights Q_i (n_i, n_L), or say that diagnostic `name` needs them."""
        n_L = self.net.sizes[-1]
        shapes = [(n, n_L) for n in self.net.sizes[1:]]
        if [q.shape for q in self.net.Q] != shapes:
            raise _missing(name, "feedback weights from the controller to every layer")
        return self.net.Q

    def need_final(self, name: str, *keys: str) -> list[Any]:
        """Return parts of the last controlled state, or say that diagnostic `name` needs them."""
        final = self.final or {}
        absent = [key for key in keys if final.get(key) is None]
        if absent:
            raise _missing(name, "the last controlled state (" + ", ".join(absent) + ")")
        return [[np.asarray(a, np.float64) for a in final[key]] if isinstance(final[key], list)
                else np.asarray(final[key], np.float64) for key in keys]


def _missing(name: str, what: str) -> InputError:
    return InputError(f"diagnostic '{name}'", f"needs {what}",
                      "leave it out for this method")
