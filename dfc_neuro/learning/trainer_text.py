"""Passes over the data with cells, controller and rules that Brian2 runs from their text.

Each sample is a segment without control, which measures r_L^-, then a controlled one towards
r_L^* = r_L^- - lambda dLoss/dr_L.  The samples of a minibatch are replicas that share weights; a
pass over the data is one run.  Forward rules read means over the last part of the controlled
segment, feedback rules every step of it (the noise that they live on has no mean).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dfc_neuro.brian import device
from dfc_neuro.brian.replicas import Job, Replicas
from dfc_neuro.datasets._dataset import Split, minibatches
from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.errors import EngineError
from dfc_neuro.files.schema import Circuit
from dfc_neuro.files.units import unit_text
from dfc_neuro.learning.minibatches import Feedback, Forward, rules_of
from dfc_neuro.learning.plan import Brian, Pass, Phase, Plan, TextPhase
from dfc_neuro.learning.timing import Timing
from dfc_neuro.learning.traces import CONTROL, Recording
from dfc_neuro.learning.trainer import NOISE, SHUFFLE, Trainer, stream
from dfc_neuro.rates.losses import LOSSES, errors
from dfc_neuro.rates.network import forward

Array = np.ndarray
SETTLE = 0.1  # seconds before the output of a held-out sample is counted
READ_OUT, RECORDED = 10, 11  # uses of random numbers


class TextTrainer(Trainer):
    """A network of cells that learns by the passes of a plan."""

    TALLIED = ("train_loss", "train_error")

    def __init__(self, plan: Plan):
        super().__init__(plan)
        assert plan.brian is not None
        self.brian: Brian = plan.brian
        self._networks: dict[int, Replicas] = {}
        self.rules = {phase.name: rules_of(phase, plan.layered) for phase in plan.phases
                      if isinstance(phase, TextPhase)}
        self._target = ""

    def run(self, one: Pass) -> None:
        """Go once over the training data."""
        plan, data, phase = self.plan, self.plan.dataset.train, one.phase
        assert isinstance(phase, TextPhase)
        shuffle = np.random.default_rng(stream(plan.seed, SHUFFLE, self.done))
        spikes, noise = stream(plan.seed, NOISE, self.done).spawn(2)
        batches = list(minibatches(len(data), plan.batch, shuffle))
        network = self._network(plan.batch, phase.circuit)
        kind = Forward if phase.learn == "W" else Feedback
        step = kind(self, one, network, data, batches)
        network.run(Job(phase.timing, len(batches), step.begin, step.target, step.end,
                        step.reading, noise=phase.noise, rng=np.random.default_rng(noise)),
                    int(spikes.generate_state(1)[0]), self._code(network))
        self._check(one)
        self.done += 1

    def _code(self, network: Replicas) -> str:
        """Return where the code runs, chosen by the length of all passes."""
        if not self._target:
            plan = self.plan
            batches = -(-len(plan.dataset.train) // plan.batch)
            steps = batches * sum(one.phase.timing.steps for one in plan.passes
                                  if isinstance(one.phase, TextPhase))
            updates = 4 * len(plan.layered.forward) + 2
            self._target = device.choose(self.brian.target, steps, updates, 0,
                                         network.built.work(self.brian.method))
        return self._target

    def _network(self, replicas: int, circuit: Circuit | None = None) -> Replicas:
        """Return the network of so many samples, its constants those of a phase's circuit."""
        plan = self.plan
        if replicas not in self._networks:
            averaged: list[set[str]] = [set() for _ in self.net.W]
            followed: list[set[str]] = [set() for _ in self.net.W]
            for phase in plan.phases:
                for i, rule in self.rules[phase.name].items():
                    if phase.learn == "Q":
                        followed[i] |= rule.post
                        continue
                    averaged[i] |= rule.post
                    if i:
                        averaged[i - 1] |= {self.plan.layered.cell(i - 1).sent(n) for n in rule.pre}
            self._networks[replicas] = Replicas(
                plan.layered, replicas=replicas, dt=self.brian.dt, method=self.brian.method,
                averaged=averaged, followed=followed, bound=plan.bound or None)
        network = self._networks[replicas]
        network.W, network.b, network.Q = self.net.W, self.net.b, self.net.Q
        network.set_constants(circuit or plan.layered.circuit)
        return network

    def outputs(self, x: Array, *use: int) -> Array:
        """Return output rates (N, n_L) without control, counted over the time of the read-out."""
        count = round(self.brian.read_out / self.brian.dt)
        network = self._network(len(x))
        network.run(Job(Timing(count + round(SETTLE / self.brian.dt), count), 1, lambda k: x),
                    int(stream(self.plan.seed, READ_OUT, self.done, *use).generate_state(1)[0]),
                    self._code(network))
        return network.free.copy()

    def evaluate(self, part: Split) -> tuple[float, float]:
        """Return loss and error of the uncontrolled network on a split, read from its output."""
        r = self.outputs(part.x, len(part))
        return LOSSES[self.plan.loss](r, part.y)[0], errors(self.plan.loss, r, part.y)

    def held_out(self) -> dict[str, float]:
        """Return loss and error on held-out samples: of the cells, and of the rate network."""
        out = super().held_out()
        if self.net.nonlinearities:
            test = self.plan.dataset.test
            r = forward(self.net, test.x).r[-1]
            out["test_loss_of_rates"] = LOSSES[self.plan.loss](r, test.y)[0]
            out["test_error_of_rates"] = errors(self.plan.loss, r, test.y)
        return out

    def snapshot(self, phase: Phase, samples: Split) -> Snapshot:
        """Return the state of the rate network with these weights, without an update."""
        if not self.net.nonlinearities:
            raise EngineError(f"{self.plan.label}: record.epochs.what", "diagnostics need a rate "
                              "network that the cells are near to; their steady rate is none of "
                              "its nonlinearities", 'record what = ["loss", "error"]')
        fwd = forward(self.net, samples.x)
        _, gradient = LOSSES[self.plan.loss](fwd.r[-1], samples.y)
        return Snapshot(self.net, fwd, -self.plan.nudge * gradient,
                        gamma=self.plan.diagnostics.get("gamma", 0.0),
                        target_stepsize=self.plan.nudge)

    def recordable(self, layer: int) -> Mapping[str, tuple[str, ...]]:
        """Return what can be recorded of the cells of a layer, by kind."""
        return {"voltage": self.plan.layered.cell(layer).states, "control": CONTROL}

    def clock(self, phase: Phase) -> tuple[float, str, int]:
        """Return time step, unit of time and number of steps of a sample."""
        assert isinstance(phase, TextPhase)
        return self.brian.dt, "second", phase.timing.steps

    def recording(self, phase: Phase, samples: Split, kind: str, layer: int, units: list[int],
                  every: int) -> Recording:
        """Return recordings of a minibatch, free of control and controlled."""
        assert isinstance(phase, TextPhase)
        network = self._network(len(samples), phase.circuit)
        names = self.plan.layered.cell(layer).states
        stored: dict[str, list[Array]] = {n: [] for n in (*names, *CONTROL)}
        step = Forward(self, Pass(phase, 0, False), network, samples, [np.arange(len(samples))])

        def watch(k: int, at: int) -> None:
            if at % every:
                return
            for name in names:
                stored[name].append(network.state(layer, name)[:, units])
            stored["u"].append(network.u)
            stored["r_output"].append(network.x[-1].copy())
            stored["target"].append(step.aim.copy())

        network.run(Job(phase.timing, 1, step.begin, step.target, watch=watch),
                    int(stream(self.plan.seed, RECORDED, self.done).generate_state(1)[0]),
                    self._code(network))
        times = np.arange(0, phase.timing.steps, every) * self.brian.dt
        arrays = {name: np.array(values) for name, values in stored.items()}
        offers = self.plan.layered.cell(layer).offers
        return Recording(arrays, dict.fromkeys(arrays, ("time", "sample", "unit")),
                         {"time": (times, "second")},
                         {name: unit_text(offers[name]) for name in names})
