"""Spiking layers under feedback control, many samples side by side, sharing their weights.

Every sample of a minibatch is a replica.  Cells and controller are groups made from the text of
their files; between them stand matrix products over all replicas, once a step:

    basal current  = scale x_{i-1} W_i^T       x: what a unit sends, the mean of its cells
    apical current = scale (u Q_i^T + noise)   while the control is on
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import brian2 as b2
import numpy as np

from dfc_neuro.brian import device
from dfc_neuro.brian.build import build
from dfc_neuro.brian.guard import Wording, guard
from dfc_neuro.brian.scheme import Scheme
from dfc_neuro.brian.text import brian_quantity, reporting
from dfc_neuro.brian.wiring import Part
from dfc_neuro.files.schema import Cell, Circuit, Constants
from dfc_neuro.learning.timing import Timing
from dfc_neuro.rates.layered import Layered

Array = np.ndarray
REMEDY = "lower data.target_stepsize, the learning rates of optimisers, or numerics.dt"
BASAL, APICAL, SENT = "drive_basal", "drive_apical", "sent_now"
SETTLED = 0.5  # seconds after which a cell under constant drive is taken to be steady


@dataclass(frozen=True)
class Job:
    """What one run does: minibatches one after the other.

    Parameters
    ----------
    timing : Timing
    minibatches : int
    begin : callable
        ``begin(k)`` gives the input (replicas, n_0) of minibatch k.
    target : callable
        ``target(k, r)`` gives the output target (replicas, n_L) from the free output.
    end : callable
        ``end(k)`` is called after minibatch k; it may change the weights.
    reading : callable
        Called in every step in which rules read.
    watch : callable
        ``watch(k, step)`` is called in every step.
    noise : tuple of (standard deviation, time constant in steps), one a layer
        Ornstein-Uhlenbeck noise on the apical compartments of a unit, while the control is on.
    rng : numpy.random.Generator, optional
        For the noise.
    """

    timing: Timing
    minibatches: int
    begin: Callable[[int], Array]
    target: Callable[[int, Array], Array] = lambda k, r: r
    end: Callable[[int], None] = lambda k: None
    reading: Callable[[], None] = lambda: None
    watch: Callable[[int, int], None] = lambda k, step: None
    noise: Sequence[tuple[float, float]] = ()
    rng: np.random.Generator | None = None


class Replicas:
    """A layered spiking circuit, `replicas` samples side by side.

    Parameters
    ----------
    layered : Layered
        The cells of its populations and its controller are built.
    replicas : int
    dt : float
        Seconds.
    method : str
        Integrator of the differential equations.
    averaged, followed : list of sets of str
        Variables of each layer: whose mean over the steps in which rules read is kept; whose
        value in each step is.
    bound : float, optional
        Largest magnitude of a voltage in volt; 1 V if not given.

    Attributes
    ----------
    W, b, Q : lists of arrays
        Weights as `run` uses them.
    x : list of (replicas, n_i)
        What the units of each layer send in this step, input first.
    free : (replicas, n_L)
        The output of the free segment.
    """

    def __init__(self, layered: Layered, *, replicas: int, dt: float, method: str,
                 averaged: Sequence[Iterable[str]], followed: Sequence[Iterable[str]],
                 bound: float | None = None):
        circuit, populations, controller = layered.circuit, layered.populations, layered.controller
        self.label, self.dt, self.controller = circuit.label, dt, controller
        self.layers = list(populations[1:])
        self.forward, self.feedback = layered.forward, layered.feedback
        n = {name: circuit.populations[name].n for name in populations}
        cells = {name: circuit.populations[name].cells_per_unit for name in self.layers}
        self.shapes = {name: (replicas, cells[name], n[name]) for name in self.layers}
        model = circuit.controller_models[controller]
        sizes = {name: n[name] * cells[name] for name in self.layers}
        scheme = Scheme({name: circuit.cells[name] for name in self.layers}, {controller: model},
                        {}, sizes | {controller: n[self.layers[-1]]})
        reads = str(circuit.controllers[controller].settings[next(iter(model.reads))])
        self._y = next(iter(model.reads))
        _, _, self._sends = reads.partition(".")
        parts, every_step = {}, {controller: ["now_u = u"]}
        parts[controller] = Part(["now_u : 1"])
        for name, mean, now in zip(self.layers, averaged, followed, strict=True):
            lines = [f"{SENT} = {circuit.cells[name].sent(self._sends)}"]
            lines += [f"sum_{v} += reading*{v}" for v in sorted(mean)]
            lines += [f"now_{v} = {v}" for v in sorted(now)]
            every_step[name] = lines
            parts[name] = Part([*(f"{line.split()[0]} : 1" for line in lines),
                                "reading : 1 (shared)"])
        attached = {(name, place): [drive] for name in self.layers
                    for place, drive in (("basal", BASAL), ("apical", APICAL))}
        with reporting(circuit.label):
            self.built = build(scheme, replicas=replicas, dt=dt, method=method, attached=attached,
                               added={name: [part] for name, part in parts.items()})
            for name, lines in every_step.items():
                self.built.groups[name].run_regularly(
                    "\n".join(lines), when="start", order=3 if name == controller else 1)
        self.W: list[Array] = []
        self.b: list[Array] = []
        self.Q: list[Array] = []
        self.x = [np.zeros((replicas, n[name])) for name in populations]
        self.free = np.zeros((replicas, n[self.layers[-1]]))
        self.noise = [np.zeros((replicas, n[name])) for name in self.layers]
        self._states = {(node, v): self.built.array(node, v).copy() for node, v in self._changing()}
        self.built.extra += [
            b2.NetworkOperation(action, clock=self.built.clock, when="start", order=order)
            for order, action in ((0, self._begin), (2, self._feedforward), (4, self._control))]
        self.built.extra.append(guard(self.built, [f"sample {k}" for k in range(replicas)], bound,
                                      Wording(remedy=REMEDY)))
        self.network = self.built.network()

    def _changing(self) -> list[tuple[str, str]]:
        return [(node, name) for node, equations in self.built.equations.items()
                for name in (*equations.diff_eq_names, *equations.parameter_names)
                if not self.built.groups[node].variables[name].constant]

    def set_constants(self, circuit: Circuit) -> None:
        """Give cells and controller the constants that a phase's circuit has."""
        models: list[tuple[str, Constants]] = [
            *((name, circuit.cells[name]) for name in self.layers),
            (self.controller, circuit.controller_models[self.controller])]
        for name, model in models:
            for key, value in model.constants.items():
                setattr(self.built.groups[name], key, brian_quantity(value))
        self._basal = [circuit.scale(name).value for name in self.forward]
        self._apical = [circuit.scale(name).value if name else 0.0 for name in self.feedback]

    def mean(self, layer: int, variable: str) -> Array:
        """Return a variable's mean over cells and the steps in which rules read, (R, n_i)."""
        return self._of_units(layer, f"sum_{variable}") / self._read

    def now(self, layer: int, variable: str) -> Array:
        """Return a followed variable in this step, the mean over cells, (R, n_i)."""
        return self._of_units(layer, f"now_{variable}")

    @property
    def u(self) -> Array:
        """The control in this step, (R, n_L); nil while it is off."""
        u = self.built.array(self.controller, "now_u").reshape(self.free.shape)
        return u if self._on else np.zeros_like(u)

    def _of_units(self, layer: int, variable: str) -> Array:
        name = self.layers[layer]
        return self.built.array(name, variable).reshape(self.shapes[name]).mean(axis=1)

    def state(self, layer: int, variable: str) -> Array:
        """Return a state of the cells in this step, the mean over those of a unit, (R, n_i)."""
        return self._of_units(layer, variable)

    def run(self, job: Job, seed: int, target: str) -> None:
        """Run a job from the initial state of all cells.

        Parameters
        ----------
        job : Job
        seed : int
            Of the spikes.
        target : {"numpy", "cython"}
        """
        for (node, name), value in self._states.items():
            self.built.array(node, name)[:] = value
        for noise in self.noise:
            noise[:] = 0.0
        self._job, self._step, self._on, self._read = job, 0, False, max(job.timing.read, 1)
        steps = job.timing.steps * job.minibatches
        with device.code(target), device.randomness(seed), reporting(self.label):
            self.network.run(steps * self.dt * b2.second, namespace={})

    def _begin(self) -> None:
        """Start a minibatch, its control, or the steps in which rules read."""
        job, timing = self._job, self._job.timing
        k, step = divmod(self._step, timing.steps)
        if step == 0:
            self.x[0] = job.begin(k)
            self.free[:] = 0.0
            self._on = False
            for i, name in enumerate(self.layers):
                self._set(name, "reading", 0.0)
                self.built.array(name, APICAL)[:] = 0.0
                self._fill(name, "b", self.b[i])
        if step == timing.free and timing.controlled:
            self._on = True
            for (node, name), value in self._states.items():
                if node == self.controller:
                    self.built.array(node, name)[:] = value
            self.built.array(self.controller, "target")[:] = job.target(k, self.free).ravel()
            for noise, (deviation, _) in zip(self.noise, job.noise, strict=False):
                noise[:] = deviation * self._normal(noise)
        if timing.controlled and step == timing.steps - timing.read:
            for name in self.layers:
                self._set(name, "reading", 1.0)
                for variable in self.built.equations[name].parameter_names:
                    if variable.startswith("sum_"):
                        self.built.array(name, variable)[:] = 0.0

    def _normal(self, like: Array) -> Array:
        assert self._job.rng is not None
        return self._job.rng.standard_normal(like.shape)

    def _set(self, name: str, variable: str, value: float) -> None:
        self.built.groups[name].variables[variable].get_value()[...] = value

    def _fill(self, name: str, variable: str, units: Array) -> None:
        """Write (n,) or (R, n) values of units into all their cells."""
        array = self.built.array(name, variable).reshape(self.shapes[name])
        array[:] = units if units.ndim == 1 else units[:, None, :]

    def _feedforward(self) -> None:
        for i in range(len(self.layers)):
            self.x[i + 1] = self._of_units(i, SENT)
        for i, name in enumerate(self.layers):
            self._fill(name, BASAL, self._basal[i] * (self.x[i] @ self.W[i].T))
        self.built.array(self.controller, self._y)[:] = self.x[-1].ravel()
        timing = self._job.timing
        step = self._step % timing.steps
        if timing.free - timing.measured <= step < timing.free:
            self.free += self.x[-1] / timing.measured

    def _control(self) -> None:
        job, timing = self._job, self._job.timing
        k, step = divmod(self._step, timing.steps)
        if self._on:
            u = self.u
            for noise, (deviation, tau) in zip(self.noise, job.noise, strict=False):
                keep = np.exp(-1.0 / tau)
                noise *= keep
                noise += deviation * np.sqrt(1.0 - keep**2) * self._normal(noise)
            for i, name in enumerate(self.layers):
                self._fill(name, APICAL, self._apical[i] * (u @ self.Q[i].T + self.noise[i]))
            if step >= timing.steps - timing.read:
                job.reading()
        job.watch(k, step)
        self._step += 1
        if step == timing.steps - 1:
            job.end(k)


def response(cell: Cell, drive: Array, dt: float, method: str) -> Array:
    """Return the steady rate of a cell under constant basal drives, in units of a weight of 1.

    Parameters
    ----------
    cell : Cell
    drive : (n,)
        W r + b.
    dt : float
        Seconds.
    method : str
    """
    scheme = Scheme({"probe": cell}, {}, {}, {"probe": len(drive)}, ())
    with reporting(cell.label), device.randomness(0):
        built = build(scheme, replicas=1, dt=dt, method=method,
                      attached={("probe", "basal"): [BASAL]},
                      added={"probe": [Part(["now_rate : 1"])]})
        built.groups["probe"].run_regularly("now_rate = rate", when="end")
        built.array("probe", BASAL)[:] = drive * cell.unit_of_weight("basal").value
        with device.code("numpy"):
            built.network().run(SETTLED * b2.second, namespace={})
    return built.array("probe", "now_rate").copy()
