"""The plan of a learning protocol whose cells Brian2 runs from their text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfc_neuro.brian.device import METHODS, check_method
from dfc_neuro.brian.replicas import response
from dfc_neuro.errors import EngineError, ProtocolError
from dfc_neuro.files import resolve
from dfc_neuro.files.protocols import LearningProtocol
from dfc_neuro.files.schema import Circuit
from dfc_neuro.files.units import quantity
from dfc_neuro.learning.plan import Brian, TextPhase
from dfc_neuro.learning.timing import Timing
from dfc_neuro.rates.layered import Layered, chain
from dfc_neuro.rates.nonlinearities import NONLINEARITIES

PROBES = np.linspace(-4.0, 4.0, 17)
SAME = 1e-6  # of a measured response and a nonlinearity of the rate level
OF_RATES = 'leave it out, or set numerics.engine = "rates"'


def brian_of(protocol: LearningProtocol) -> Brian:
    """Return how Brian2 runs a protocol.

    Raises
    ------
    EngineError
        If the protocol asks for what the rate engine alone does.
    """
    label, numerics = protocol.label, protocol.numerics
    if protocol.method != "dfc":
        raise EngineError(f"{label}: method", f"'{protocol.method}' is of the rate engine",
                          "cells that run from their text learn by 'dfc'")
    if protocol.feedback in ("expected", "fixed_point"):
        raise EngineError(f"{label}: feedback", f"'{protocol.feedback}' is of the rate engine",
                          "write learned, fixed or random")
    for key, used in (("integrator", numerics.integrator is not None),
                      ("precision", numerics.precision == "float32"),
                      ("threads", numerics.threads is not None)):
        if used:
            raise EngineError(f"{label}: numerics.{key}", "is of the rate engine", OF_RATES)
    for key in ("as_published", "keep_unconverged"):
        if getattr(protocol, key):
            raise EngineError(f"{label}: {key}", "is of the rate engine", OF_RATES)
    assert protocol.circuit is not None
    read_out = quantity(numerics.read_out or "1 second", f"{label}: numerics.read_out").value
    return Brian(_seconds(protocol, numerics.dt), read_out,
                 check_method(numerics.method or METHODS[0], f"{label}: numerics.method"),
                 numerics.target or "auto")


def _seconds(protocol: LearningProtocol, time: float | str) -> float:
    """Return a time in seconds; a plain number counts in units of tau_u."""
    assert protocol.circuit is not None
    models = list(protocol.circuit.controller_models.values())
    value = quantity(time, f"{protocol.label}: numerics.dt")
    if any(value.dimensions):
        return value.value
    if len(models) != 1 or "tau_u" not in models[0].constants:
        raise ProtocolError(f"{protocol.label}: numerics.dt", f"found {time}, in units of a "
                            "controller's tau_u, which there is not", 'write "1 ms"')
    return value.value * models[0].constants["tau_u"].value


def text_layers(circuit: Circuit, brian: Brian) -> Layered:
    """Return the chain of layers, with the nonlinearities of the rate network that it is near to.

    The steady rate of each cell is measured at drives between -4 and 4.  Where it is no
    nonlinearity of the rate level, there is none.
    """
    found = chain(circuit)
    if found.skips:
        raise EngineError(f"{circuit.label}: projections.{found.weights[-1]}", "is a skip "
                          "projection, which learns on the rate engine only",
                          "leave it out, or run the circuit in a recording protocol")
    names = []
    for name in found.populations[1:]:
        rates = response(circuit.cells[name], PROBES, brian.dt, brian.method)
        names.append(next((k for k, known in NONLINEARITIES.items()
                           if np.abs(known.phi(PROBES) - rates).max() < SAME), ""))
    return replace(found, nonlinearities=tuple(names) if all(names) else ())


def text_phase(protocol: LearningProtocol, name: str, dt: float) -> TextPhase:
    """Return a phase of a protocol, its times in steps of dt seconds.

    Raises
    ------
    EngineError, ProtocolError
        If the phase does not fit cells that Brian2 runs, or its rule does not.
    """
    where, table = f"{protocol.label}: phases.{name}", protocol.phases[name]
    for key, used in (("proactive", table.proactive), ("instant_system", table.instant_system),
                      ("transmission", table.transmission != "instant")):
        if used:
            raise EngineError(f"{where}.{key}", "is of the rate engine", OF_RATES)
    own = resolve.phase(protocol, name)
    assert own.circuit is not None
    found = chain(own.circuit)
    tau_u = own.circuit.controller_models[found.controller].constants["tau_u"].value

    def steps(key: str, length: float) -> int:
        count = round(length * tau_u / dt)
        if count < 1:
            raise ProtocolError(f"{where}.{key}", f"is {length:g} tau_u, less than a step of "
                                f"{dt * 1e3:g} ms")
        return count

    if table.free is None:
        raise ProtocolError(f"{where}.free", "is missing", "write for instance free = 2, the time "
                            "in units of tau_u in which the output without control is measured")
    free = steps("free", table.free)
    controlled = table.steps or steps("duration", table.duration or 0.0)
    read = controlled if table.read is None else steps("read", table.read)
    if read > controlled:
        raise ProtocolError(f"{where}.read", f"is {table.read:g} tau_u, longer than the phase")
    timing = Timing(free, max(1, free // 2), controlled, read)
    output = table.noise if table.noise_output is None else table.noise_output
    depth = len(found.forward)
    noise: tuple[tuple[float, float], ...] = ()
    if table.noise or output:
        if table.tau_noise is None:
            raise ProtocolError(f"{where}.tau_noise", "is missing", "write for instance "
                                "tau_noise = 2, the time constant of the noise in units of tau_u")
        spread = 1.0 / np.sqrt(2.0 * table.tau_noise)  # tau dn = -n dt + sigma dW
        noise = tuple((sigma * spread, table.tau_noise * tau_u / dt)
                      for sigma in [table.noise] * (depth - 1) + [output])
    rules = {p: own.circuit.rules[p]
             for p in (found.forward if table.learn == "W" else found.feedback)
             if p in own.circuit.rules}
    for projection, rule in rules.items():
        place = f"{own.circuit.label}: projections.{projection}.rule"
        if rule.on_pre or rule.on_post or rule.pre or rule.post:
            raise EngineError(place, f"rule '{rule.name}' has events or filters; here it at "
                              "means over time", "take a rule that is dw/dt = ... and reads "
                              "observables")
        if len(rule.part("synapse")) != 1:
            raise EngineError(place, f"rule '{rule.name}' is more than dw/dt = ...")
    scale = None
    if table.noise and "noise_scale" not in own.circuit.cell_parameters:
        scale = table.noise
    return TextPhase(name, table.learn, table.target == "own_output", own.circuit, timing, noise,
                     rules, scale)
