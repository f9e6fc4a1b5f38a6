"""From a resolved protocol to a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dfc_neuro.datasets._dataset import check_sizes
from dfc_neuro.errors import EngineError, ProtocolError, near
from dfc_neuro.files import resolve
from dfc_neuro.files.protocols import LearningProtocol
from dfc_neuro.files.protocols import Phase as PhaseTable
from dfc_neuro.learning.plan import Pass, Phase, Plan, RatePhase
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.layered import layered
from dfc_neuro.rates.losses import LOSSES
from dfc_neuro.rates.simulate import BOUND
from dfc_neuro.registry import get

MOST_STEPS = 100_000_000
SMALLEST_SCALE = 0.01  # below it the published feedback rule divides by this, not by the noise


def _phase(protocol: LearningProtocol, name: str, table: PhaseTable) -> RatePhase:
    where = f"{protocol.label}: phases.{name}"
    for key in ("free", "read", "tau_noise"):
        if getattr(table, key) is not None:
            raise ProtocolError(f"{where}.{key}", "is of cells that Brian2 runs",
                                'leave it out, or set numerics.engine = "brian"')
    own = resolve.phase(protocol, name)
    assert own.circuit is not None
    net = layered(own.circuit)
    dt = net.in_tau_u(own.numerics.dt, f"{where}: numerics.dt")
    closed = table.learn == "W" and protocol.method == "dfc" and not net.skips
    if own.numerics.integrator == "averaged" and net.skips and table.learn == "W" \
            and protocol.method == "dfc":
        raise EngineError(f"{where}.numerics.integrator", "'averaged' is known for chains of "
                          "layers, and the circuit has skip projections",
                          "write euler or fast, or leave it out")
    integrator = own.numerics.integrator or ("averaged" if closed else "euler")
    length = float(table.steps) if table.steps is not None else (table.duration or 0.0) / dt
    if not 2 <= round(min(length, MOST_STEPS + 1)) <= MOST_STEPS:
        raise ProtocolError(f"{where}.duration", f"holds {length:g} steps of dt = {dt:g}",
                            f"give from 2 to {MOST_STEPS:,}")
    steps = round(length)
    if integrator == "averaged" and table.learn == "W" and protocol.method == "dfc_ss":
        raise ProtocolError(f"{where}.numerics.integrator", "'averaged' is a time average, and "
                            "dfc_ss reads the last state", "allowed are euler, fast")
    output = table.noise if table.noise_output is None else table.noise_output
    control = Control(
        alpha=net.control_constant("alpha"), k_p=net.control_constant("k_p"), dt=dt,
        steps=steps, tau=net.in_units_of_tau_u("tau_v"),
        tau_A=net.in_units_of_tau_u("tau_A") if net.slow_apical else 0.0,
        transmission=table.transmission, proactive=table.proactive,
        instant_system=table.instant_system, integrator=integrator,
        sigma=table.noise, sigma_output=output)
    if control.second_order and table.transmission == "delayed":
        raise ProtocolError(f"{where}.transmission", "'delayed' is a delay of one step, and the "
                            "integrator 'fast' follows the equations, which have none",
                            "allowed with it is instant; or take the integrator euler")
    scale = None
    if table.noise and "noise_scale" not in own.circuit.cell_parameters:
        scale = max(table.noise, SMALLEST_SCALE)
    return RatePhase(name, table.learn, table.target == "own_output", control,
                     net.rule(table.learn, scale))


def _passes(protocol: LearningProtocol, phases: Mapping[str, Phase], feedback_learns: bool
            ) -> tuple[Pass, ...]:
    def runs(name: str) -> bool:
        return phases[name].learn == "W" or feedback_learns

    schedule, passes = protocol.schedule, []
    for name, count in schedule.before.items():
        passes += [Pass(phases[name], 0, False)] * (count if runs(name) else 0)
    names = [name for name in schedule.epoch if runs(name)]
    for epoch in range(1, schedule.epochs + 1):
        passes += [Pass(phases[name], epoch, i == len(names) - 1) for i, name in enumerate(names)]
    return tuple(passes)


def _number(protocol: LearningProtocol, key: str, whole: bool) -> Any:
    value = protocol.data.get(key)
    kinds: Any = int if whole else int | float
    if value is None:
        raise ProtocolError(f"{protocol.label}: data.{key}", "is missing")
    if isinstance(value, bool) or not isinstance(value, kinds) or value <= 0:
        raise ProtocolError(f"{protocol.label}: data.{key}", f"found {value!r}",
                            f"give a positive {'whole ' if whole else ''}number")
    return value


def _diagnostics(protocol: LearningProtocol) -> dict[str, Any]:
    """Return on how many samples diagnostics are measured, and the damping of GN and MN."""
    found = {"samples": 64, "gamma": 0.0}
    for key, value in protocol.diagnostics.items():
        where = f"{protocol.label}: diagnostics.{key}"
        if key not in found:
            raise ProtocolError(where, "unknown key", near(key, found))
        if isinstance(value, bool) or not isinstance(value, int if key == "samples" else int | float
                                                     ) or value < (key == "samples"):
            raise ProtocolError(where, f"found {value!r}", "give a positive whole number"
                                if key == "samples" else "give a number that is not negative")
        found[key] = value
    return found


def _check_rates(protocol: LearningProtocol) -> None:
    for key in ("method", "target", "read_out"):
        if getattr(protocol.numerics, key) is not None:
            raise EngineError(f"{protocol.label}: numerics.{key}", "is of Brian2",
                              'leave it out, or set numerics.engine = "brian"')


def make_plan(protocol: LearningProtocol, seed: int) -> Plan:
    """Resolve everything that a training run needs, and check that it fits together.

    Raises
    ------
    InputError
        Before any work is done.
    """
    label = protocol.label
    if protocol.circuit is None:
        raise ProtocolError(f"{label}: on", f"'{protocol.on}' is not a circuit",
                            "learning needs a circuit, such as dfc_layered")
    method = get("methods", protocol.method, f"{label}: method")
    batch, nudge = _number(protocol, "batch", True), _number(protocol, "target_stepsize", False)
    phases: dict[str, Phase] = {}
    brian = None
    if protocol.numerics.engine == "brian":
        from dfc_neuro.learning.planning_text import brian_of, text_layers, text_phase

        brian = brian_of(protocol)
        net = text_layers(protocol.circuit, brian)
        phases |= {name: text_phase(protocol, name, brian.dt) for name in protocol.phases}
    else:
        _check_rates(protocol)
        net = layered(protocol.circuit)
        phases |= {name: _phase(protocol, name, table) for name, table in protocol.phases.items()}
    for phase in phases.values():
        if phase.learn == "Q" and not phase.own_output:
            raise ProtocolError(f"{label}: phases.{phase.name}.target", "is the loss",
                                'feedback weights learn with target = "own_output"')
        if phase.learn == "Q" and protocol.feedback == "fixed_point" \
                and isinstance(phase, RatePhase) and phase.rule.bounds:
            raise EngineError(f"{label}: feedback", "'fixed_point' solves for weights without "
                              "bounds, and the rule has some", 'set feedback = "learned"')
    if net.skips and protocol.feedback in ("expected", "fixed_point"):
        raise EngineError(f"{label}: feedback", f"'{protocol.feedback}' is known for chains of "
                          "layers, and the circuit has skip projections",
                          "write learned, fixed or random")
    dataset = get("datasets", protocol.data["name"], f"{label}: data.name").load(
        dict(protocol.data), seed, f"{label}: data")
    check_sizes(dataset, net.sizes, f"{label}: layers")
    loss = protocol.data.get("loss", dataset.loss_kind)
    if loss != dataset.loss_kind or loss not in LOSSES:
        raise ProtocolError(f"{label}: data.loss", f"'{loss}' does not fit the dataset "
                            f"'{protocol.data['name']}'", f"it takes {dataset.loss_kind}")
    learned = protocol.feedback in ("learned", "expected", "fixed_point") and method.USES_Q
    if protocol.feedback == "fixed_point":  # solved, so once is enough
        before = {name: min(n, 1) if phases[name].learn == "Q" else n
                  for name, n in protocol.schedule.before.items()}
        schedule = protocol.schedule.model_copy(update={"before": before})
        protocol = protocol.model_copy(update={"schedule": schedule})
    passes = _passes(protocol, phases, learned)
    for kind in sorted({one.phase.learn for one in passes} - set(protocol.optimisers)):
        raise ProtocolError(f"{label}: optimisers.{kind}", "is missing",
                            f'for instance {kind} = {{ name = "adam", lr = 1e-3 }}')
    return Plan(
        label=label, layered=net, method=method, method_name=protocol.method,
        feedback=protocol.feedback,
        dataset=dataset, phases=tuple(phases.values()), passes=passes, batch=batch, loss=loss,
        nudge=float(nudge), optimisers={k: dict(v) for k, v in protocol.optimisers.items()},
        dtype=np.dtype("float64" if brian else protocol.numerics.precision or "float32"),
        threads=protocol.numerics.threads,
        keep_unconverged=protocol.keep_unconverged, as_published=protocol.as_published,
        record=dict(protocol.record), diagnostics=_diagnostics(protocol), seed=seed,
        bound=protocol.numerics.bound or (0.0 if brian else BOUND), brian=brian)
