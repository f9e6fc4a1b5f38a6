"""One case of a reference file: network, minibatch and constants, read with located errors.

The layout is that of the golden file of the tests (tests/data/README.md): a group a case, its
attributes the constants, ``parameters``, ``input`` and ``target`` what everything follows from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from dfc_neuro.errors import DataError, near
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.losses import LOSSES
from dfc_neuro.rates.network import Network
from dfc_neuro.rates.nonlinearities import NONLINEARITIES

Array = np.ndarray
ALIASES = {"softmax": "linear", "leakyrelu": "leaky_relu"}
TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Source:
    """A group of the file, whose attributes and datasets are read with located errors."""

    group: h5py.Group
    where: str

    def error(self, found: str, remedy: str = "") -> DataError:
        return DataError(self.where, found, remedy)

    def attribute(self, *names: str) -> Any:
        """Return the first of `names` that is there and, but for the last, is not -1."""
        for name in names:
            value = self.group.attrs.get(name)
            if value is not None:
                if isinstance(value, np.ndarray) and value.size == 1:
                    value = value.ravel()[0]
                value = value.decode() if isinstance(value, bytes) else value
                if name == names[-1] or not np.array_equal(value, -1):
                    return value
        raise self.error("attribute " + " or ".join(f"'{n}'" for n in names) + " is missing",
                         "every constant of a case is an attribute of its group")

    def number(self, *names: str, default: float | None = None, least: float = -math.inf,
               above: bool = False) -> float:
        """Return a finite number that is at least (or above) `least`."""
        if default is not None and not any(n in self.group.attrs for n in names):
            return default
        value = self.attribute(*names)
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self.error(f"attribute '{names[0]}' is {value!r}", "write a number") from None
        if not math.isfinite(number):
            raise self.error(f"attribute '{names[0]}' is {number:g}", "write a finite number")
        if number < least or (above and number == least):
            bound = f"{'more than' if above else 'at least'} {least:g}"
            raise self.error(f"attribute '{names[0]}' is {number:g}", f"it must be {bound}")
        return number

    def count(self, *names: str, least: int) -> int:
        """Return a whole number of at least `least`; a fraction is cut off, as published."""
        return int(self.number(*names, least=least))

    def flag(self, name: str) -> bool:
        """Return a boolean attribute; an absent one is false."""
        value = self.group.attrs.get(name, False)
        if isinstance(value, (str, bytes)):
            text = (value.decode() if isinstance(value, bytes) else value).lower()
            if text not in TRUTH:
                raise self.error(f"attribute '{name}' is '{text}'", "write true or false")
            return TRUTH[text]
        return bool(value)

    def names(self, path: str = "") -> list[str]:
        """Return what a subgroup holds; nothing if it is not there."""
        group = self.group.get(path) if path else self.group
        return list(group) if isinstance(group, h5py.Group) else []

    def array(self, path: str, shape: tuple[int | None, ...] | None = None) -> Array:
        """Return a dataset, checked against `shape` (None: any extent)."""
        dataset = self.group.get(path)
        if not isinstance(dataset, h5py.Dataset):
            kind = "is not a dataset" if path in self.group else "is missing"
            raise self.error(f"dataset '{path}' {kind}")
        try:
            values = np.asarray(dataset[()])
        except (OSError, RuntimeError, TypeError) as error:
            raise self.error(f"dataset '{path}' cannot be read ({error})",
                             "the file is damaged; get it again") from error
        if values.dtype.kind not in "fiub":
            raise self.error(f"dataset '{path}' holds {values.dtype}", "it must hold numbers")
        if shape is not None and (values.ndim != len(shape) or any(
                n is not None and n != m for n, m in zip(shape, values.shape, strict=True))):
            raise self.error(f"dataset '{path}' has shape {_shape(values.shape)}, but the other "
                             f"sizes of the case make it {_shape(shape)}")
        return values


def _shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"


@dataclass(frozen=True)
class Case:
    """A case: what everything is recomputed from.

    Parameters
    ----------
    source : Source
    net : Network
        float64 parameters of L layers.
    x : (B, n_0)
        Input.
    target : (B,) or (B, n_L)
        Labels or output values.
    loss : str
        A key of :data:`dfc_neuro.rates.losses.LOSSES`.
    """

    source: Source
    net: Network
    x: Array
    target: Array
    loss: str

    @property
    def nudge(self) -> float:
        """lambda, the step of the output target."""
        return self.source.number("target_stepsize")

    @property
    def alpha(self) -> float:
        """Leak of the controller in the control phase."""
        return self.source.number("alpha_di")

    @property
    def control(self) -> Control:
        """Constants of the control phase."""
        s = self.source
        dt = s.number("dt_di", least=0.0, above=True)
        return Control(
            alpha=self.alpha, k_p=s.number("k_p", default=0.0, least=0.0), dt=dt,
            steps=s.count("tmax_di", least=1), tau=self.tau,
            tau_A=self._apical("apical_time_constant", instant=0.0),
            transmission="instant" if s.flag("inst_transmission") else "delayed",
            proactive=s.flag("proactive_controller"),
            instant_system=s.flag("inst_system_dynamics"))

    @property
    def tau(self) -> float:
        """tau_v / tau_u of the control phase, raised to the time step."""
        dt = self.source.number("dt_di", default=0.0, least=0.0)
        tau = max(self.source.number("time_constant_ratio", least=0.0), dt)
        if tau == 0.0:
            raise self.source.error("attribute 'time_constant_ratio' is 0",
                                    "it must be more than 0")
        return tau

    @property
    def feedback_control(self) -> Control:
        """Constants of the feedback phase; -1 or absent falls back as in the published code."""
        s = self.source
        dt = s.number("dt_di_fb", "dt_di", least=0.0, above=True)
        sigma = self.sigma_fb
        tau = s.number("time_constant_ratio_fb", "time_constant_ratio", least=0.0)
        return Control(
            alpha=s.number("alpha_fb"), k_p=s.number("k_p_fb", "k_p", default=0.0, least=0.0),
            dt=dt, steps=s.count("tmax_di_fb", "tmax_di", least=2), tau=max(tau, dt),
            # -1 is the time step of the control phase, as in the published code
            tau_A=self._apical("apical_time_constant_fb",
                               instant=s.number("dt_di", default=dt, least=0.0, above=True)),
            transmission="instant" if s.flag("inst_transmission_fb") else "delayed",
            instant_system=s.flag("inst_system_dynamics"), sigma=sigma,
            sigma_output=s.number("sigma_output_fb", "sigma_fb", "sigma", least=0.0))

    @property
    def sigma_fb(self) -> float:
        """Noise of the hidden layers in the feedback phase."""
        return self.source.number("sigma_fb", "sigma", least=0.0)

    def _apical(self, name: str, instant: float) -> float:
        value = self.source.number(name, default=-1.0)
        if value == -1.0:
            return instant
        if value <= 0.0:
            raise self.source.error(f"attribute '{name}' is {value:g}",
                                    "it must be more than 0, or -1 for instantaneous")
        return value


def read_case(group: h5py.Group, where: str) -> Case:
    """Read the network, minibatch and loss of a case.

    Parameters
    ----------
    group : h5py.Group
    where : str
        File and case, for messages.

    Raises
    ------
    DataError
        If something is missing, damaged, unknown or of a size that does not fit.
    """
    source = Source(group, where)
    if "parameters" not in group:
        raise source.error("group 'parameters' is missing",
                           "a case holds parameters/W{i}, b{i} and Q{i} for layers i = 1..L")
    sizes: list[int | None]
    if "sizes" in group.attrs:
        sizes = [int(n) for n in np.ravel(source.attribute("sizes"))]
    else:
        sizes = [None] * (1 + sum(name.startswith("W") for name in source.names("parameters")))
    depth = len(sizes) - 1
    if depth < 1:
        raise source.error(f"attribute 'sizes' is {sizes}" if sizes[0] else
                           "dataset 'parameters/W1' is missing", "a case has at least one layer")
    W: list[Array] = []
    for i in range(1, depth + 1):
        below = W[-1].shape[0] if W else sizes[0]
        W.append(source.array(f"parameters/W{i}", (sizes[i], below)).astype(np.float64))
    n_L = W[-1].shape[0]
    b = [source.array(f"parameters/b{i}", (w.shape[0],)).astype(np.float64)
         for i, w in enumerate(W, start=1)]
    Q = [source.array(f"parameters/Q{i}", (w.shape[0], n_L)).astype(np.float64)
         for i, w in enumerate(W, start=1)]
    net = Network(W, b, Q, _nonlinearities(source, depth))
    x = source.array("input", (None, net.sizes[0])).astype(np.float64)
    loss = str(source.attribute("loss"))
    if loss not in LOSSES:
        raise source.error(f"attribute 'loss' is '{loss}'", near(loss, LOSSES))
    target = source.array("target")
    target = (_labels(source, target, len(x), n_L) if loss == "cross_entropy"
              else source.array("target", (len(x), n_L)).astype(np.float64))
    return Case(source, net, x, target, loss)


def _nonlinearities(source: Source, depth: int) -> tuple[str, ...]:
    def known(name: str, attribute: str) -> str:
        name = ALIASES.get(name, name)
        if name not in NONLINEARITIES:
            raise source.error(f"attribute '{attribute}' is '{name}'",
                               near(name, {*NONLINEARITIES, *ALIASES}))
        return name

    output = known(str(source.attribute("output_nonlinearity")), "output_nonlinearity")
    if depth == 1:
        return (output,)
    value = source.attribute("hidden_nonlinearity")
    parts = ([part.strip() for part in value.split(",")] if isinstance(value, str)
             else [v.decode() if isinstance(v, bytes) else str(v) for v in np.ravel(value)])
    if len(parts) not in (1, depth - 1):
        raise source.error(f"attribute 'hidden_nonlinearity' names {len(parts)} nonlinearities",
                           f"name one, or one for each of the {depth - 1} hidden layers")
    hidden = [known(part, "hidden_nonlinearity") for part in parts]
    return (*(hidden if len(hidden) == depth - 1 else hidden * (depth - 1)), output)


def _labels(source: Source, target: Array, B: int, n_L: int) -> Array:
    if target.shape == (B, n_L) and n_L > 1:
        if not (np.isin(target, (0, 1)).all() and (target.sum(axis=1) == 1).all()):
            raise source.error("dataset 'target' is neither labels nor one-hot rows")
        return target.argmax(axis=1)
    if target.shape not in ((B,), (B, 1)):
        raise source.error(f"dataset 'target' has shape {_shape(target.shape)}, but the other "
                           f"sizes of the case make it {_shape((B,))}")
    labels = target.ravel().astype(np.int64)
    if (labels != target.ravel()).any() or (labels < 0).any() or (labels >= n_L).any():
        raise source.error("dataset 'target' holds labels that are not classes",
                           f"they are whole numbers from 0 to {n_L - 1}")
    return labels
