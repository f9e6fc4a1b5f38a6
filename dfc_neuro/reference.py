"""A phase of control from a file of reference numbers, on either engine (protocol ``golden``)."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dfc_neuro.errors import DataError, EngineError, ProtocolError, near
from dfc_neuro.files import keys as dotted
from dfc_neuro.files.circuits import build_circuit, expand
from dfc_neuro.files.protocols import RecordingProtocol
from dfc_neuro.files.schema import Circuit
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.losses import LOSSES
from dfc_neuro.rates.network import forward
from dfc_neuro.rates.nonlinearities import NONLINEARITIES
from dfc_neuro.results import Writer, announce
from dfc_neuro.verify import Case, read_case

log = logging.getLogger(__name__)
Array = np.ndarray
SHIPPED = "golden.h5"  # in protocols/data
RATES_ONLY = ("integrator", "transmission", "proactive", "instant_system", "precision", "threads")


def open_case(options: dict[str, Any], where: str) -> Case:
    """Read the case that ``[data]`` names: ``file`` (empty: the shipped one) and ``case``.

    Raises
    ------
    DataError
        If the file or the case is not there, or damaged.
    """
    for key in options:
        if key not in ("name", "file", "case"):
            raise DataError(f"{where}.{key}", "unknown key", near(key, ("file", "case")))
    name = str(options.get("file", ""))
    path = Path(name) if name else Path(str(files("dfc_neuro.protocols") / "data" / SHIPPED))
    if not path.is_file():
        raise DataError(f"{where}.file", f"'{path}' is not a file",
                        "give a file of reference numbers, or leave it empty for the shipped one")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{where}.file", f"'{path}' is not an HDF5 file, or damaged") from error
    cases = list(file)
    case = options.get("case", "")
    if case not in cases:
        raise DataError(f"{where}.case", f"'{path.name}' has no case '{case}'",
                        near(str(case), cases))
    return read_case(file[case], f"{path}: {case}")


def circuit_of(case: Case, protocol: RecordingProtocol) -> Circuit:
    """Return the protocol's circuit with the sizes, functions and constants of a case.

    Keys of the circuit that the protocol sets come last.
    """
    from dfc_neuro.rates.layered import chain

    assert protocol.circuit is not None
    own = protocol.circuit
    table = expand({**own.source, "layers": list(case.net.sizes)}, own.label)
    layers = [name for name, p in table["populations"].items() if "source" not in p]
    for name, phi in zip(layers, case.net.nonlinearities, strict=True):
        table["populations"][name]["functions"] = {
            "phi(x)": NONLINEARITIES[phi].text[0],
            "dphi(x)": NONLINEARITIES[phi].slope_text}
    control = case.control
    cells = {"tau_v": control.tau} | ({"tau_A": control.tau_A} if control.tau_A else {})
    table["cells"] = {**table.get("cells", {}), **{k: _seconds(v) for k, v in cells.items()}}
    for use in table["controllers"].values():
        use |= {"alpha": control.alpha, "k_p": control.k_p, "tau_u": "1 second"}
    for key, value in protocol.set.items():
        dotted.put(table, key, value, f"{protocol.label}: set.{key}")
    circuit = build_circuit(table, own.path, own.label)
    found = chain(circuit)
    if found.skips:
        raise ProtocolError(f"{own.label}: projections.{found.weights[-1]}", "is a skip "
                            "projection; a reference case has the weights of a chain of layers",
                            "leave it out")
    return circuit


def _seconds(value: float) -> str:
    return f"{value!r} second"


def record(protocol: RecordingProtocol, writer: Writer, seed: int, progress: bool = True) -> None:
    """Run the control phase of a reference case and write its trajectory.

    The result's measures: ``error_end``, the largest |r_L* - r_L| at the end; ``ssa_distance``,
    the largest distance of the final somatic voltages from the analytic steady state over the
    largest of those voltages; ``eigenvalue``, the leading real part of A_PI.

    Raises
    ------
    NumericalError
        If a voltage passes ``numerics.bound``; the message names layer and time.
    """
    label = protocol.label
    if protocol.circuit is None:
        raise ProtocolError(f"{label}: on", f"'{protocol.on}' is not a circuit",
                            "reference cases run on a layered circuit")
    if protocol.duration != "auto":
        raise ProtocolError(f"{label}: duration", f"found {protocol.duration!r}",
                            'a reference case has its own number of steps: leave it "auto"')
    case = open_case(dict(protocol.data), f"{label}: data")
    circuit = circuit_of(case, protocol)
    fwd = forward(case.net, case.x)
    _, gradient = LOSSES[case.loss](fwd.r[-1], case.target)
    delta = -case.nudge * gradient
    thin = _thinning(protocol, _grid(protocol, case)[0])
    on_disk, in_memory = _bytes(protocol, case, thin)
    announce(writer.path, on_disk, label, in_memory)
    leading = _announce(case, log.warning)
    engine = _on_rates if protocol.numerics.engine == "rates" else _on_brian
    stored = engine(protocol, case, circuit, delta)
    time = stored.pop("time")
    for name in protocol.record or ("trajectory",):
        table, step = protocol.record.get(name), thin.get(name, 1)
        for variable, values in stored.items():
            if table is None or variable.rstrip("0123456789") in table.what:
                writer.put(f"recordings/{name}/{variable}", values[::step],
                           ("time", "sample", "unit"), "1", {"time": (time[::step], "tau_u")})
    _measures(writer, case, delta, stored, leading)


def _thinning(protocol: RecordingProtocol, dt: float) -> dict[str, int]:
    """Return how many steps go to one that a table keeps; refuse what is not looked at."""
    found = {}
    for name, table in protocol.record.items():
        where = f"{protocol.label}: record.{name}"
        for key in ("units", "reduce", "samples", "at_epochs", "phase"):
            if getattr(table, key) is not None:
                raise ProtocolError(f"{where}.{key}", "is not used by a reference case",
                                    "it records every unit of every sample")
        every = dt if table.every is None else _tau_u(table.every, f"{where}.every")
        found[name] = round(every / dt)
        if abs(found[name] * dt - every) > 1e-6 * dt or found[name] < 1:
            raise ProtocolError(f"{where}.every", f"found {every:g}",
                                f"give a multiple of dt, which is {dt:g}")
    return found


def _bytes(protocol: RecordingProtocol, case: Case, thin: dict[str, int]) -> tuple[float, float]:
    """Return how much is written, and how much is held until then."""
    item = np.dtype(protocol.numerics.precision or "float64").itemsize
    a_state = float(len(case.x) * item * _grid(protocol, case)[1])
    sizes = case.net.sizes[1:]
    numbers = {"u": sizes[-1]} | dict.fromkeys(("v_soma", "v_basal", "v_apical", "r"), sum(sizes))
    written = sum(numbers.get(what, 0) / thin[name] for name, table in protocol.record.items()
                  for what in table.what) if protocol.record else sum(numbers.values())
    return a_state * written, a_state * 2 * sum(numbers.values())


def _grid(protocol: RecordingProtocol, case: Case) -> tuple[float, int]:
    """Return time step and number of states: those of the case, or the protocol's dt."""
    base, own = case.control, protocol.numerics.dt
    if own is None:
        return base.dt, base.steps
    dt = _tau_u(own, f"{protocol.label}: numerics.dt")
    return dt, round((base.steps - 1) * base.dt / dt) + 1


def _announce(case: Case, say: Any) -> float:
    from dfc_neuro.diagnostics._snapshot import Snapshot
    from dfc_neuro.diagnostics.stability import measure

    fwd = forward(case.net, case.x)
    found = measure(Snapshot(case.net, fwd, np.zeros((len(case.x), case.net.sizes[-1])),
                             control=case.control))
    leading = max(v for k, v in found.items() if not k.endswith("_sd"))
    if leading > 0:
        say(f"this case is unstable: a leading eigenvalue is {leading:+.3g}, so the controlled "
            "state grows")
    return float(leading)


def _on_rates(protocol: RecordingProtocol, case: Case, circuit: Circuit, delta: Array
              ) -> dict[str, Array]:
    from dfc_neuro.rates.layered import layered
    from dfc_neuro.rates.simulate import BOUND, simulate

    numerics, net = protocol.numerics, layered(circuit)
    control = _control(protocol, case, net)
    dtype = np.dtype(numerics.precision or "float64")
    network = case.net.astype(dtype)
    end = simulate(network, control, forward(network, case.x.astype(dtype)), delta.astype(dtype),
                   record_every=1, bound=numerics.bound or BOUND, threads=numerics.threads)
    path = end.trajectory
    assert path is not None
    out = {"time": path.time_step * control.dt, "u": path.u}
    for i in range(network.depth):
        out |= {f"v_soma{i + 1}": path.v_soma[i], f"v_apical{i + 1}": path.v_apical[i],
                f"v_basal{i + 1}": path.v_basal[i], f"r{i + 1}": path.r[i]}
    return out


def _control(protocol: RecordingProtocol, case: Case, net: Any) -> Control:
    """Return the case's constants, changed by the circuit's keys and the protocol's numerics."""
    numerics, base = protocol.numerics, case.control
    dt, steps = _grid(protocol, case)
    changed: dict[str, Any] = {k: v for k, v in (("transmission", numerics.transmission),
                                 ("proactive", numerics.proactive),
                                 ("instant_system", numerics.instant_system),
                                 ("integrator", numerics.integrator)) if v is not None}
    return replace(base, alpha=net.control_constant("alpha"), k_p=net.control_constant("k_p"),
                   tau=net.in_units_of_tau_u("tau_v"),
                   tau_A=net.in_units_of_tau_u("tau_A") if net.slow_apical else 0.0,
                   dt=dt, steps=steps, **changed)


def _tau_u(value: Any, where: str) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise ProtocolError(where, f"found {value!r}",
                        "a reference case counts time in units of tau_u: give a number")


def _on_brian(protocol: RecordingProtocol, case: Case, circuit: Circuit, delta: Array
              ) -> dict[str, Array]:
    from dfc_neuro.brian.rate_level import controlled_trajectory

    numerics = protocol.numerics
    for key in RATES_ONLY:
        if getattr(numerics, key) is not None:
            raise EngineError(f"{protocol.label}: numerics.{key}", "is an option of the rate "
                              "engine's discretisation; the Brian2 engine runs the equations",
                              "leave it out, or set numerics.engine = \"rates\"")
    (controller,) = circuit.controller_models.values()
    cells = [circuit.cells[p] for p, table in circuit.populations.items() if not table.source]
    dt, steps = _grid(protocol, case)
    output = forward(case.net, case.x).r[-1]
    return controlled_trajectory(
        case.net, case.x, output + delta, cells, controller, dt=dt, steps=steps,
        method=numerics.method or "rk4", bound=numerics.bound, backend=numerics.target)


def _measures(writer: Writer, case: Case, delta: Array, stored: dict[str, Array],
              leading: float) -> None:
    from dfc_neuro.rates.steady_state import steady_state

    fwd = forward(case.net, case.x)
    x = steady_state(case.net, fwd, delta, case.alpha).x
    steady = [free + d for free, d in zip(fwd.v, x, strict=True)]
    last = [stored[f"v_soma{i + 1}"][-1] for i in range(case.net.depth)]
    distance = max(np.abs(a - b).max() for a, b in zip(last, steady, strict=True))
    phi = NONLINEARITIES[case.net.nonlinearities[-1]].phi
    error = np.abs(fwd.r[-1] + delta - phi(np.asarray(last[-1], float))).max()
    writer.put("measures/error_end", float(error), (), "1")
    writer.put("measures/ssa_distance",
               float(distance / max(np.abs(v).max() for v in steady)), (), "1")
    writer.put("measures/eigenvalue", leading, (), "1")
