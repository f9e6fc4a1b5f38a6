"""Every quantity of a case, recomputed from its parameters, minibatch, noise and constants.

The dynamics and the rules go through the rate engine; the rest is linear algebra at the
feedforward state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dfc_neuro.diagnostics import _references as references
from dfc_neuro.diagnostics import _stability as stability
from dfc_neuro.diagnostics import condition_2
from dfc_neuro.errors import near
from dfc_neuro.methods import dfc, dfc_ss, dfc_ssa
from dfc_neuro.methods._step import Minibatch
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.losses import LOSSES
from dfc_neuro.rates.network import Forward, Update, backprop, forward, jacobian
from dfc_neuro.rates.simulate import simulate
from dfc_neuro.verify._case import Case
from dfc_neuro.verify._rules import FEEDBACK, FORWARD, rule_kernel

Array = np.ndarray
Quantities = Iterator[tuple[str, Array]]
DAMPED = {"minimum_norm_damping_": "MN", "gauss_newton_damping_": "GN"}


class Recomputed:
    """One case, recomputed part by part; each part only if the file holds it."""

    def __init__(self, case: Case):
        self.case, self.net = case, case.net
        self.fwd: Forward = forward(case.net, case.x)
        self.loss, self.gradient = LOSSES[case.loss](self.fwd.r[-1], case.target)
        self.held = set(case.source.names())

    def instability(self) -> tuple[str, float] | None:
        """Return the stability matrix that governs the control phase, if an eigenvalue is > 0."""
        if "dynamics" not in self.held:
            return None
        control = self.case.control
        name = ("A_instI" if control.instant_system else "A_PI" if control.k_p > 0 else "A_I")
        value = stability.leading_eigenvalues(
            self.net, self.fwd, alpha=control.alpha, k_p=control.k_p,
            tau=self.case.tau)[name].max()
        return (name, float(value)) if value > 0 else None

    def quantities(self) -> Quantities:
        """Yield the path of a dataset in the case's group, and its recomputed value."""
        yield from _layers("forward/v", self.fwd.v)
        yield from _layers("forward/r", self.fwd.r)
        yield "loss_value", np.asarray(self.loss)
        yield "jacobian", np.concatenate(jacobian(self.net, self.fwd), axis=2)
        yield "output_target", self.fwd.r[-1] + self.delta
        for name, part in (("ssa", self._ssa), ("dynamics", self._dynamics),
                           ("feedback_learning", self._feedback),
                           ("references", self._references)):
            if name in self.held:
                yield from part()

    @property
    def delta(self) -> Array:
        """Output target minus feedforward output."""
        return -self.case.nudge * self.gradient

    def _batch(self, rule: str, control: Control) -> Minibatch:
        return Minibatch(self.net, self.fwd, self.delta, self.case.nudge, control,
                         rule_kernel(FORWARD[rule]), bound=0.0)

    def _rules(self, group: str, prefix: str) -> list[str]:
        found = [name.removeprefix(prefix) for name in self.case.source.names(group)
                 if name.startswith(prefix)]
        for rule in found:
            if rule not in FORWARD:
                raise self.case.source.error(f"group '{group}/{prefix}{rule}' is of an unknown "
                                             "rule", near(rule, FORWARD))
        return found

    def _ssa(self) -> Quantities:
        alpha = self.case.alpha
        state = references.analytic_state(self.net, self.fwd, self.delta, alpha)
        yield "ssa/u", state.u
        for name in ("delta_v", "v", "r"):
            yield from _layers(f"ssa/{name}", getattr(state, name))
        control = Control(alpha=alpha, k_p=0.0, dt=1.0, steps=1, tau=1.0)  # only alpha is read
        for rule in self._rules("ssa", "update_"):
            update = dfc_ssa.update(self._batch(rule, control)).update
            yield from _update(f"ssa/update_{rule}", update)

    def _dynamics(self) -> Quantities:
        control = self.case.control
        held = set(self.case.source.names("dynamics"))
        if any(not name.startswith("update_") for name in held):
            yield from self._trajectory(control)
        for prefix, method in (("update_time_average_", dfc), ("update_steady_state_", dfc_ss)):
            for rule in self._rules("dynamics", prefix):
                update = method.update(self._batch(rule, control)).update
                yield from _update(f"dynamics/{prefix}{rule}", update)

    def _trajectory(self, control: Control) -> Quantities:
        stored = simulate(self.net, control, self.fwd, self.delta, record_every=1,
                          bound=0.0).trajectory
        assert stored is not None
        at = self._stored_states(control.steps)
        yield "dynamics/u", stored.u[at]
        for name in ("v_apical", "v_basal", "v_soma", "r"):
            yield from _layers(f"dynamics/{name}", [a[at] for a in getattr(stored, name)])
        target = self.fwd.r[-1] + self.delta
        yield "dynamics/error_norm", np.linalg.norm(target - stored.r[-1][at], axis=2)

    def _stored_states(self, T: int) -> Array:
        """Return which of the T states the file stores: `time_index` of dynamics, or all."""
        index = self.case.source.group["dynamics"].attrs.get("time_index")
        if index is None:
            return np.arange(T)
        index = np.ravel(index)
        if index.dtype.kind not in "iu" or (index < 0).any() or (index >= T).any():
            raise self.case.source.error("attribute 'time_index' of group 'dynamics' is not a list "
                                         f"of states from 0 to {T - 1}")
        return index

    def _feedback(self) -> Quantities:
        control = self.case.feedback_control
        B, source = len(self.fwd.x), self.case.source
        noise = [source.array(f"feedback_learning/noise{i}", (control.steps - 1, B, n))
                 for i, n in enumerate(self.net.sizes[1:], start=1)]
        rule = rule_kernel(FEEDBACK, noise_scale_post=max(self.case.sigma_fb, 0.01))
        end = simulate(self.net, replace(control, proactive=False), self.fwd,
                       np.zeros_like(self.delta), rule=rule, noise=noise, bound=0.0)
        yield from _layers("feedback_learning/dQ", end.dW)

    def _references(self) -> Quantities:
        held = self.case.source.names("references")
        net, fwd = self.net, self.fwd
        J = jacobian(net, fwd)
        for name in held:
            where = f"references/{name}"
            kind = next((kind for prefix, kind in DAMPED.items() if name.startswith(prefix)), "")
            if kind == "MN":
                gamma = self._damping(name)
                targets = references.minimum_norm_targets(J, self.delta, gamma)
                yield from _layers(f"{where}/delta_v", targets)
                yield from _update(where, references.outer_mean(net, targets, fwd.presynaptic))
            elif kind == "GN":
                gamma = self._damping(name)
                yield from _update(where, references.gauss_newton(net, fwd, self.delta, gamma,
                                                                  J=J))
            elif name == "backprop":
                yield from _update(where, backprop(net, fwd, -self.gradient))
            elif name == "condition2_ratio":
                yield where, np.asarray(condition_2.ratio(J, net.Q))
            elif name == "max_real_eigenvalue":
                yield from self._eigenvalues(where)

    def _damping(self, name: str) -> float:
        text = name.rpartition("_")[2]
        try:
            gamma = float(text)
        except ValueError:
            gamma = -1.0
        if not 0.0 <= gamma < np.inf:
            raise self.case.source.error(f"group 'references/{name}' has the damping '{text}'",
                                         "its name ends in a number that is at least 0")
        return gamma

    def _eigenvalues(self, where: str) -> Quantities:
        found = stability.matrices(
            self.net, self.fwd, alpha=self.case.alpha, tau=self.case.tau,
            k_p=self.case.source.number("k_p", default=0.0, least=0.0))
        for name in self.case.source.names(where):
            if name not in found:
                raise self.case.source.error(f"dataset '{where}/{name}' is of an unknown matrix",
                                             near(name, found))
            yield f"{where}/{name}", stability.leading(found[name])


def _layers(path: str, arrays: list[Array]) -> Quantities:
    for i, array in enumerate(arrays, start=1):
        yield f"{path}{i}", array


def _update(path: str, update: Update) -> Quantities:
    yield from _layers(f"{path}/dW", update.dW)
    yield from _layers(f"{path}/db", update.db)
