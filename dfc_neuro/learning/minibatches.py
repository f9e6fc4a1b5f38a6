"""What happens to one minibatch after the other while Brian2 runs a pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dfc_neuro.brian.replicas import Replicas
from dfc_neuro.datasets._dataset import Split
from dfc_neuro.errors import EngineError
from dfc_neuro.learning.plan import Pass, TextPhase
from dfc_neuro.learning.rule_means import RuleMeans
from dfc_neuro.learning.trainer import keep_within
from dfc_neuro.rates.layered import Layered
from dfc_neuro.rates.losses import LOSSES, errors

if TYPE_CHECKING:
    from dfc_neuro.learning.trainer_text import TextTrainer

Array = np.ndarray


def rules_of(phase: TextPhase, layered: Layered) -> dict[int, RuleMeans]:
    """Return the rules of a phase by layer, from 0."""
    found = {}
    for projection, rule in phase.rules.items():
        names = layered.forward if phase.learn == "W" else layered.feedback
        layer = names.index(projection)
        cell = phase.circuit.cells[layered.populations[layer + 1]]
        constants = {name: q.value for name, q in cell.constants.items()}
        if phase.noise_scale is not None:
            constants["noise_scale"] = phase.noise_scale
        means = RuleMeans(rule, constants)
        if phase.learn == "Q" and not means.pre <= {"u", "u_next"}:
            raise EngineError(rule.label, f"reads {', '.join(sorted(means.pre))} on its "
                              "presynaptic side", "feedback weights learn from u or u_next")
        found[layer] = means
    return found


class Forward:
    """Forward weights: rules read means over the last part of the controlled segment.

    What a layer learns is divided by the fraction gamma of the control that its cells let reach
    the difference of soma and basal dendrite, if they say it.

    Parameters
    ----------
    trainer : TextTrainer
        Its weights change.
    one : Pass
    network : Replicas
    data : Split
    batches : sequence of int arrays
        Rows of each minibatch; one that is too small is filled up with samples that do not count.
    """

    def __init__(self, trainer: TextTrainer, one: Pass, network: Replicas, data: Split,
                 batches: Sequence[Array]):
        self.trainer, self.one, self.network = trainer, one, network
        self.data, self.batches = data, batches
        self.rules = trainer.rules[one.phase.name]
        self.aim = np.zeros_like(network.free)

    def begin(self, k: int) -> Array:
        """Return the input of a minibatch."""
        return self.data.part(np.resize(self.batches[k], len(self.network.free))).inputs()

    def target(self, k: int, r: Array) -> Array:
        """Return the output target r_L^- - lambda dLoss/dr_L."""
        rows, plan = self.batches[k], self.trainer.plan
        self.aim = r.copy()
        if self.one.phase.own_output:
            return self.aim
        part, y = r[:len(rows)], self.data.part(rows).targets()
        loss, gradient = LOSSES[plan.loss](part, y)
        self.aim[:len(rows)] -= plan.nudge * gradient
        if self.one.epoch:
            tally = self.trainer.tally
            tally.weight += len(rows)
            tally.loss += len(rows) * loss
            tally.error += len(rows) * errors(plan.loss, part, y)
        return self.aim

    def reading(self) -> None:
        """Nothing to do in each step: the network keeps sums."""

    def end(self, k: int) -> None:
        """Change forward weights and biases."""
        m, net, layered = len(self.batches[k]), self.trainer.net, self.trainer.plan.layered
        dW, db = [], []
        for i, rule in self.rules.items():
            post = {name: self.network.mean(i, name)[:m] for name in rule.post}
            pre = {name: (self.network.mean(i - 1, layered.cell(i - 1).sent(name)) if i
                          else self.network.x[0])[:m] for name in rule.pre}
            gamma = layered.cell(i).constants.get("gamma")
            share = 1.0 if gamma is None else gamma.value
            dW.append(rule.changes(post, pre, net.W[i]) / share)
            db.append(rule.bias_changes(post, net.b[i]) / share)
        self.trainer.learn(self.one, k / len(self.batches),
                           [part[i] for part in (net.W, net.b) for i in self.rules], dW + db)
        for i, rule in self.rules.items():
            keep_within(rule.bounds, [net.W[i]])


class Feedback(Forward):
    """Feedback weights: rules read apical voltages, and the control one step later."""

    def __init__(self, trainer: TextTrainer, one: Pass, network: Replicas, data: Split,
                 batches: Sequence[Array]):
        super().__init__(trainer, one, network, data, batches)
        self._sums = {i: np.zeros_like(trainer.net.Q[i]) for i in self.rules}
        self._before: tuple[dict[int, dict[str, Array]], Array] | None = None
        self._rows, self._count = 0, 0

    def begin(self, k: int) -> Array:
        """Return the input of a minibatch, and forget the one before."""
        self._before, self._rows, self._count = None, len(self.batches[k]), 0
        for total in self._sums.values():
            total[:] = 0.0
        return super().begin(k)

    def reading(self) -> None:
        """Add the rule's value, the postsynaptic side one step ago."""
        m, u = self._rows, self.network.u[:self._rows]
        if self._before is not None:
            post, u_before = self._before
            for i, rule in self.rules.items():
                pre = {name: u_before if name == "u" else u for name in rule.pre}
                self._sums[i] += rule.changes(post[i], pre, self.trainer.net.Q[i])
            self._count += 1
        now = {i: {name: self.network.now(i, name)[:m] for name in rule.post}
               for i, rule in self.rules.items()}
        self._before = now, u

    def end(self, k: int) -> None:
        """Change feedback weights."""
        self.trainer.learn(self.one, k / len(self.batches),
                           [self.trainer.net.Q[i] for i in self.rules],
                           [self._sums[i] / max(self._count, 1) for i in self.rules])
        for i, rule in self.rules.items():
            keep_within(rule.bounds, [self.trainer.net.Q[i]])
