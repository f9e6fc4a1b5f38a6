"""The passes over the data, and all that a resumed run must remember."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dfc_neuro.datasets._dataset import Split, minibatches
from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.errors import NumericalError, ProtocolError
from dfc_neuro.learning import traces
from dfc_neuro.learning.plan import Pass, Phase, Plan, RatePhase
from dfc_neuro.methods._step import Minibatch
from dfc_neuro.optimisers._optimiser import Optimiser
from dfc_neuro.rates import noisy
from dfc_neuro.rates.expected import expected_update
from dfc_neuro.rates.fixed_point import fixed_point
from dfc_neuro.rates.losses import LOSSES, errors
from dfc_neuro.rates.network import Forward, Network, forward
from dfc_neuro.rates.rules import apical_control_factor
from dfc_neuro.rates.simulate import deviation, simulate

log = logging.getLogger(__name__)
Array = np.ndarray
LARGEST_PARAMETER = 1000.0
AT_ONCE = 500  # samples that are evaluated together
SOLVED_ON = 512  # samples on which feedback weights at rest are solved for
INITIAL, SHUFFLE, NOISE, PROBE = range(4)  # uses of random numbers


def stream(seed: int, *use: int) -> np.random.SeedSequence:
    """Return the random stream of one use; it depends on nothing that came before."""
    return np.random.SeedSequence(seed, spawn_key=use)


@dataclass
class Tally:
    """Sums over the minibatches of one epoch; each counts by its size (by 1, as published)."""

    weight: int = 0
    loss: float = 0.0
    error: float = 0.0
    converged: int = 0
    diverged: int = 0
    neither: int = 0
    newton: int = 0
    stepped: int = 0
    feedback_stepped: int = 0


class Trainer:
    """A network that learns by the passes of a plan; the kernels run it."""

    TALLIED: tuple[str, ...] = ("train_loss", "train_error", "converged", "diverged",
                                "not_converged")

    def __init__(self, plan: Plan):
        self.plan = plan
        rng = np.random.default_rng(stream(plan.seed, INITIAL))
        net = plan.layered.draw(rng, plan.feedback)
        self.net: Network = net.astype(plan.dtype)
        self.done = 0
        self.tally = Tally()  # of the epoch at hand
        kinds = [(one.phase.learn, bool(one.epoch)) for one in plan.passes]
        counts, met = Counter(kinds), Counter[tuple[str, bool]]()
        self._alike = []  # of each pass: how many of its kind come before it, and how many are
        for alike in kinds:
            self._alike.append((met[alike], counts[alike]))
            met[alike] += 1
        self._optimisers: dict[str, Optimiser] = {}
        self._stages: dict[str, str] = {}
        self._linear_feedback = False  # whether the pass at hand does without steps of the network
        self._said = False
        for kind in plan.optimisers:  # finds mistakes in the options before any work
            for stage in ("after", "before"):
                self._optimiser(kind, stage)

    def _optimiser(self, kind: str, stage: str) -> Optimiser:
        """Return the optimiser of W or Q; Q has one before the first epoch and another after."""
        if self._stages.get(kind) != stage:
            options = dict(self.plan.optimisers[kind])
            lr, where = options.get("lr"), f"{self.plan.label}: optimisers.{kind}"
            if isinstance(lr, dict):
                if set(lr) != {"before", "after"}:
                    raise ProtocolError(f"{where}.lr", f"found {lr}", "give a number, "
                                        "or { before = ..., after = ... }")
                options["lr"] = lr[stage]
            self._optimisers[kind] = Optimiser(options, where)
            self._stages[kind] = stage
        return self._optimisers[kind]

    def learn(self, one: Pass, part: float, weights: list[Array], ascent: list[Array]) -> None:
        """Change weights in place along `ascent`, when `part` of a pass is over."""
        optimiser = self._optimiser(one.phase.learn, "after" if one.epoch else "before")
        before, count = self._alike[self.done]
        optimiser.anneal((before + part) / count)
        optimiser.apply(weights, ascent)

    def run(self, one: Pass) -> None:
        """Go once over the training data."""
        plan, data = self.plan, self.plan.dataset.train
        index = self.done
        rng = np.random.default_rng(stream(plan.seed, SHUFFLE, index))
        if one.phase.learn == "Q" and plan.feedback == "fixed_point":
            self._solve_feedback(one, data.part(rng.permutation(len(data))[:SOLVED_ON]))
            self.done += 1
            return
        noise = stream(plan.seed, NOISE, index).generate_state(len(data) // plan.batch + 2)
        for k, rows in enumerate(minibatches(len(data), plan.batch, rng)):
            done = k * plan.batch / len(data)
            part = data.part(rows)
            if one.phase.learn == "W":
                self._learn_forward(one, part, int(noise[k]), done)
            else:
                self._learn_feedback(one, part, int(noise[k]), done)
        self._check(one)
        self.done += 1

    def minibatch(self, phase: Phase, part: Split, seed: int) -> tuple[Minibatch, float]:
        """Return a minibatch ready for a method, and its loss."""
        assert isinstance(phase, RatePhase)
        plan, net = self.plan, self.net
        fwd = forward(net, part.inputs(plan.dtype))
        loss, gradient = LOSSES[plan.loss](fwd.r[-1], part.targets(plan.dtype))
        delta = gradient * plan.dtype.type(-plan.nudge)
        return Minibatch(net, fwd, delta, plan.nudge, phase.control, phase.rule, seed,
                         plan.threads, plan.keep_unconverged, plan.as_published,
                         plan.bound), loss

    def _learn_forward(self, one: Pass, part: Split, seed: int, done: float) -> None:
        batch, loss = self.minibatch(one.phase, part, seed)
        step = self.plan.method.update(batch)
        self.learn(one, done, self._trained_forward(self.net.W, self.net.b),
                   self._trained_forward(step.update.dW, step.update.db))
        assert isinstance(one.phase, RatePhase)
        keep_within(one.phase.rule.bounds, self._trained_forward(self.net.W, []))
        if not one.epoch:
            return
        tally, weight = self.tally, 1 if self.plan.as_published else len(part)
        tally.weight += weight
        tally.loss += weight * loss
        tally.error += weight * errors(self.plan.loss, batch.fwd.r[-1],
                                        part.targets(self.plan.dtype))
        tally.converged += step.converged
        tally.diverged += step.diverged
        tally.neither += step.neither
        tally.newton += step.newton
        tally.stepped += step.stepped

    def _trained_forward(self, W: list[Array], b: list[Array]) -> list[Array]:
        """Return those of W, then those of b, that learn."""
        layered = self.plan.layered
        return [W[i] for i in layered.trained_forward] + [b[i] for i in layered.trained_biases if b]

    def _learn_feedback(self, one: Pass, part: Split, seed: int, done: float) -> None:
        net = self.net
        assert isinstance(one.phase, RatePhase)
        fwd = forward(net, part.inputs(self.plan.dtype))
        if self.plan.feedback == "expected":
            factor = -apical_control_factor(one.phase.rule)
            found = expected_update(net, one.phase.control, fwd, noise_scale=1.0,
                                    threads=self.plan.threads)
            ascent = [net.dtype.type(factor) * dQ for dQ in found.dQ]
        else:
            ascent = self._noisy(one, fwd, seed, first=done == 0)
        trained = self.plan.layered.trained_feedback
        self.learn(one, done, [net.Q[i] for i in trained], [ascent[i] for i in trained])
        keep_within(one.phase.rule.bounds, [net.Q[i] for i in trained])

    def _noisy(self, one: Pass, fwd: Forward, seed: int, first: bool) -> list[Array]:
        """Return the noisy update of feedback weights.

        The first minibatch of a pass is taken both by steps and, if the integrator is "averaged",
        by the linearised network; where that makes too much of a difference the pass goes on in
        steps.
        """
        net, plan, phase = self.net, self.plan, one.phase
        assert isinstance(phase, RatePhase)

        def steps() -> list[Array]:
            self.tally.feedback_stepped += bool(one.epoch)
            return simulate(net, phase.control, fwd, np.zeros_like(fwd.r[-1]), rule=phase.rule,
                            seed=seed, threads=plan.threads, bound=plan.bound).dW

        def linearised() -> list[Array]:
            return noisy.noisy_update(net, phase.control, fwd, phase.rule, seed=seed,
                                      threads=plan.threads)

        if phase.control.integrator != "averaged":
            return steps()
        if not first:
            return linearised() if self._linear_feedback else steps()
        self._linear_feedback = False
        stepped = steps()
        if noisy.applies(phase.rule, net, phase.control):
            excess = relative_distance(linearised(), stepped)
            self._linear_feedback = excess < noisy.TOLERANCE
            why = f"would change an update by {excess:.1%} (allowed is {noisy.TOLERANCE:.0%})"
        else:
            why = "does not apply to this rule, to skip projections, or to so large a network"
        if not self._linear_feedback and not self._said:
            log.warning("phase %s: the closed form %s; feedback weights learn by time steps",
                        phase.name, why)
            self._said = True
        return stepped

    def _solve_feedback(self, one: Pass, part: Split) -> None:
        """Put Q where training by the expected update would end, weight decay included."""
        net, trained = self.net, self.plan.layered.trained_feedback
        assert isinstance(one.phase, RatePhase)
        scale = 1.0 / np.sqrt(-apical_control_factor(one.phase.rule))
        found = fixed_point(
            net, one.phase.control, forward(net, part.inputs(self.plan.dtype)),
            weight_decay=float(self.plan.optimisers["Q"].get("weight_decay", 0.0)),
            noise_scale=float(scale), trained=trained, threads=self.plan.threads)
        for i in trained:
            net.Q[i][...] = found.Q[i]

    def _check(self, one: Pass) -> None:
        for name, part in self.net.named().items():
            if not np.abs(part).max() <= LARGEST_PARAMETER:
                raise NumericalError(
                    f"{name} has left the bound {LARGEST_PARAMETER:g} (or is not "
                    f"finite) in phase '{one.phase.name}' of epoch {one.epoch}: lower "
                    f"optimisers.{'Q' if name.startswith('Q') else 'W'}.lr")

    def save(self) -> dict[str, object]:
        """Return all that a resumed run needs."""
        state: dict[str, object] = {"done": self.done}
        state |= {f"tally/{name}": value for name, value in vars(self.tally).items()}
        state |= self.net.named()
        for kind, optimiser in self._optimisers.items():
            state[f"{kind}/stage"] = self._stages[kind]
            state |= optimiser.save(f"optimiser/{kind}")
        return state

    def restore(self, state: dict) -> None:
        """Go on where `save` was called."""
        self.done = int(state["done"])
        self.tally = Tally(**{name: state[f"tally/{name}"] for name in vars(Tally())})
        net = self.net
        for name, part in net.named().items():
            part[...] = state[name]
        parts = {"W": self._trained_forward(net.W, net.b),
                 "Q": [net.Q[i] for i in self.plan.layered.trained_feedback]}
        for kind in self.plan.optimisers:
            self._optimiser(kind, str(state[f"{kind}/stage"])).restore(
                f"optimiser/{kind}", state, parts[kind])

    def evaluate(self, part: Split) -> tuple[float, float]:
        """Return loss and error of the uncontrolled network on a split.

        As published, they are unweighted means over minibatches.
        """
        plan = self.plan
        size = plan.batch if plan.as_published else AT_ONCE
        found, counts = [], []
        for start in range(0, len(part), size):
            some = part.part(slice(start, start + size))
            y = some.targets(plan.dtype)
            r = forward(self.net, some.inputs(plan.dtype)).r[-1]
            loss, _ = LOSSES[plan.loss](r, y)
            found.append((loss, errors(plan.loss, r, y)))
            counts.append(len(some))
        loss, error = np.average(found, axis=0, weights=None if plan.as_published else counts)
        return float(loss), float(error)

    def held_out(self) -> dict[str, float]:
        """Return loss and error on the test samples, and on validation samples if there are any."""
        out: dict[str, float] = {}
        for name in ("validation", "test"):
            split = getattr(self.plan.dataset, name)
            if split is not None:
                out[f"{name}_loss"], out[f"{name}_error"] = self.evaluate(split)
        return out

    def snapshot(self, phase: Phase, samples: Split) -> Snapshot:
        """Return the state of the network at a minibatch, with the method's own update."""
        assert isinstance(phase, RatePhase)
        plan = self.plan
        batch, _ = self.minibatch(phase, samples, 0)
        step = plan.method.update(batch)
        final = None
        if step.controlled is not None:
            end = step.controlled
            dr = deviation(batch.net, batch.fwd, end.x)
            final = {"r_L": batch.fwd.r[-1] + dr[-1], "u": end.u,
                     "v": [free + d for free, d in zip(batch.fwd.v, end.x, strict=True)]}
        return Snapshot(batch.net, batch.fwd, batch.delta, step.update, phase.control,
                        gamma=plan.diagnostics.get("gamma", 0.0), final=final,
                        target_stepsize=plan.nudge, as_published=plan.as_published)

    def recordable(self, layer: int) -> Mapping[str, tuple[str, ...]]:
        """Return what can be recorded of a layer, by kind; one recording has one kind."""
        return traces.RECORDABLE

    def clock(self, phase: Phase) -> tuple[float, str, int]:
        """Return time step, unit of time and number of states of a phase."""
        assert isinstance(phase, RatePhase)
        return phase.control.dt, "tau_u", phase.control.steps

    def recording(self, phase: Phase, samples: Split, kind: str, layer: int, units: list[int],
                  every: int) -> traces.Recording:
        """Return recordings of one kind of a minibatch, `every` so many steps of a phase."""
        assert isinstance(phase, RatePhase)
        return traces.recorded(self, phase, samples, kind, layer, units, every)


def keep_within(bounds: tuple[float, float] | None, weights: list[Array]) -> None:
    """Clip weights to hard bounds, if there are any."""
    if bounds is not None:
        for w in weights:
            np.clip(w, bounds[0], bounds[1], out=w)


def relative_distance(parts: list[Array], others: list[Array]) -> float:
    """Return the distance of two updates relative to the size of the second, 0 if both are 0."""
    apart, size = (float(np.sqrt(sum(np.vdot(a, a) for a in found)))
                   for found in ([a - b for a, b in zip(parts, others, strict=True)], others))
    return apart / size if apart else 0.0
