"""A layered rate network under control, run from the text of its cells and its controller."""

from __future__ import annotations

from collections.abc import Sequence

import brian2 as b2
import numpy as np

from dfc_neuro.brian import device
from dfc_neuro.brian.build import RECORDS, Built, build
from dfc_neuro.brian.guard import Wording, guard
from dfc_neuro.brian.scheme import Link, Scheme
from dfc_neuro.brian.text import reporting
from dfc_neuro.errors import EngineError
from dfc_neuro.files.schema import Cell, Controller
from dfc_neuro.rates.network import Network, forward

Array = np.ndarray
STORED = ("v_soma", "v_apical", "v_basal")


def controlled_trajectory(
    network: Network,
    x: Array,
    target: Array,
    cells: Sequence[Cell],
    controller: Controller,
    *,
    dt: float,
    steps: int,
    method: str = "rk4",
    every: int = 1,
    bound: float | None = None,
    backend: str = "auto",
) -> dict[str, Array]:
    """Run a minibatch through a phase of control with Brian2, each sample a replica.

    The equations are those of the files of the cells and the controller.  Inputs between groups
    are held during a step, so the whole is of first order in dt whatever the method.

    Parameters
    ----------
    network : Network
        W, b and Q; nonlinearities for the feedforward state that the run starts from.
    x : (B, n_0)
        Input.
    target : (B, n_L)
        Output target r_L*.
    cells : sequence of Cell
        The cell of each layer, with its nonlinearity and time constants.
    controller : Controller
        The controller, with its constants.
    dt : float
        Time step in units of the controller's tau_u.
    steps : int
        T, the number of states from the feedforward state on.
    method : str
        Integrator inside a cell.
    every : int
        Store every so many states.
    bound : float, optional
        Largest magnitude of a voltage; 1e6 if not given.
    backend : {"auto", "numpy", "cython"}

    Returns
    -------
    dict of str to array
        ``time`` (S,) in units of tau_u, ``u`` (S, B, n_L), and for each layer i counted from 1
        ``v_soma{i}``, ``v_apical{i}``, ``v_basal{i}`` and ``r{i}`` (S, B, n_i).

    Raises
    ------
    EngineError
        For a method that is not offered.
    NumericalError
        When a voltage passes the bound; names layer and time.

    Notes
    -----
    v_basal = W r + b, tau_v dv_soma/dt = v_basal + v_apical - v_soma, v_apical = Q u or its
    low-pass, u = u_int + k_p e, tau_u du_int/dt = e - alpha u, e = r_L* - r_L (arXiv:2106.07887).
    """
    device.check_method(method, "method")
    if "tau_u" not in controller.constants:
        raise EngineError(controller.label, "has no tau_u, the unit of time here",
                          "name the time constant of the control tau_u")
    step = dt * controller.constants["tau_u"].value
    built = _built(network, x, target, cells, controller, step, method)
    wording = Wording(dt / step, "tau_u", "the feedback loop is unstable: check the stability "
                      "of Q, or lower dt or k_p")
    built.extra.append(guard(built, [f"sample {k}" for k in range(len(x))], bound, wording))
    return _run(built, network.depth, len(x), dt, step, steps, every, backend, method)


def _built(network: Network, x: Array, target: Array, cells: Sequence[Cell],
           controller: Controller, step: float, method: str) -> Built:
    layers = {f"layer{i}": cell for i, cell in enumerate(cells, 1)}
    sizes = dict(zip(("input", *layers), network.sizes, strict=True))
    sizes["control"] = network.sizes[-1]
    below = ["input", *layers]
    links = [dense(name, below[j], "rate", below[i + 1], "basal", w)
             for name, (i, j), w in zip(network.names, network.links, network.W, strict=True)]
    read, = controller.reads
    links.append(one_to_one("read", below[-1], "rate", "control", read, sizes["control"]))
    links += [dense(f"Q{i}", "control", "u", layer, "apical", network.Q[i - 1])
              for i, layer in enumerate(layers, 1)]
    scheme = Scheme(layers, {"control": controller}, {"input": "rate"}, sizes, tuple(links))
    built = build(scheme, replicas=len(x), dt=step, method=method)
    start = forward(network, np.asarray(x, float))
    built.array("input", "rate")[:] = np.ravel(x)
    built.array("control", "target")[:] = np.ravel(target)
    for i, layer in enumerate(layers):
        built.array(layer, "b")[:] = np.tile(network.b[i], len(x))
        built.array(layer, "v_soma")[:] = start.v[i].ravel()
    return built


def one_to_one(name: str, source: str, reads: str, target: str, socket: str, n: int) -> Link:
    """Return a link from each of n units to the one of the same number."""
    return Link(name, source, reads, target, socket, np.arange(n), np.arange(n), np.ones(n))


def dense(name: str, source: str, reads: str, target: str, socket: str, w: Array) -> Link:
    """Return a link with the weight matrix w (n_target, n_source)."""
    post, pre = np.indices(w.shape).reshape(2, -1)
    return Link(name, source, reads, target, socket, pre, post, np.asarray(w, float).ravel())


def _run(built: Built, depth: int, samples: int, dt: float, step: float, steps: int, every: int,
         backend: str, method: str) -> dict[str, Array]:
    layers = [f"layer{i}" for i in range(1, depth + 1)]
    ticks = device.clock(step * every, "samples")
    monitors = {
        node: b2.StateMonitor(built.groups[node], variables, record=True, clock=ticks,
                              when="groups", order=RECORDS, name=f"record_{node}")
        for node, variables in (*((layer, [*STORED, "rate"]) for layer in layers),
                                ("control", ["u"]))}
    built.extra += monitors.values()
    synapses = sum(len(s) for s in built.synapses.values())
    updates = len(built.groups) + len(built.synapses) + len(monitors)
    target = device.choose(backend, steps, updates, synapses, built.work(method))
    with device.code(target), reporting("the rate level on Brian2"):
        built.network().run(steps * step * b2.second, namespace={})

    def stored(node: str, variable: str) -> Array:
        values = np.array(monitors[node].variables[variable].get_value())
        return values.reshape(len(values), samples, -1)

    out = {"time": np.arange(0, steps, every) * dt, "u": stored("control", "u")}
    for i, layer in enumerate(layers, 1):
        out |= {f"{variable}{i}": stored(layer, variable) for variable in STORED}
        out[f"r{i}"] = stored(layer, "rate")
    return out
