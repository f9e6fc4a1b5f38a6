"""The published recursion of Deep Feedback Control in NumPy, shipped rules, made-up recordings."""

import copy
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

PHI = {
    "linear": (lambda v: v, lambda v: np.ones_like(v)),
    "tanh": (np.tanh, lambda v: 1 - np.tanh(v) ** 2),
    "relu": (lambda v: np.where(v > 0, v, 0 * v), lambda v: np.where(v > 0, 1.0, 0.0)),
    "leaky_relu": (lambda v: np.where(v > 0, v, v / 5), lambda v: np.where(v > 0, 1.0, 0.2)),
    "sigmoid": (lambda v: 0.5 + 0.5 * np.tanh(v / 2), lambda v: 0.25 / np.cosh(v / 2) ** 2),
}


def published(net, c, x, delta, noise=None, dtype=np.float64):
    """Forward Euler as the authors' code does it: all states of u, v, v_B, v_A, r, in voltages."""
    W, b, Q = ([np.asarray(a, dtype) for a in part] for part in (net.W, net.b, net.Q))
    phi = [PHI[name][0] for name in net.nonlinearities]
    instant = c.transmission == "instant" or c.instant_system
    dt, tau, tau_A = (dtype(s) for s in (c.dt, max(c.tau, c.dt), c.tau_A or c.dt))
    x, L, states = x.astype(dtype), len(W), (c.steps, len(x))
    v, v_B, v_A, r = ([np.zeros((*states, len(w)), dtype) for w in W] for _ in range(4))
    u, u_int = np.zeros((*states, len(W[-1])), dtype), np.zeros((len(x), len(W[-1])), dtype)
    for i in range(L):
        v_B[i][0] = v[i][0] = (r[i - 1][0] if i else x) @ W[i].T + b[i]
        r[i][0] = phi[i](v[i][0])
    target = r[-1][0] + delta.astype(dtype)
    for t in range(c.steps - 1):
        e = target - r[-1][t]
        if c.k_p > 0:
            u_int = u_int + dt * (e - dtype(c.alpha) * u[t])
            u[t + 1] = u_int + dtype(c.k_p) * e
        else:
            u[t + 1] = u[t] + dt * (e - dtype(c.alpha) * u[t])
        for i in range(L):
            below = x if i == 0 else r[i - 1][t + 1 if instant else t]
            v_B[i][t + 1] = below @ W[i].T + b[i]
            drive = (u[t + 1] if c.proactive else u[t]) @ Q[i].T
            v_A[i][t + 1] = v_A[i][t] + dt / tau_A * (drive - v_A[i][t])
            if noise is not None:
                sigma = c.sigma_output if i == L - 1 else c.sigma
                v_A[i][t + 1] += dtype(sigma) * np.sqrt(dt) / tau_A * noise[i][t].astype(dtype)
            inputs = v_A[i][t + 1] + v_B[i][t + 1]
            v[i][t + 1] = inputs if c.instant_system else v[i][t] + dt / tau * (inputs - v[i][t])
            r[i][t + 1] = phi[i](v[i][t + 1])
    return SimpleNamespace(x=x, u=u, v=v, v_B=v_B, v_A=v_A, r=r)


def averaged(net, c, path, rule):
    """Return dW and db of one of the authors' rules, or their dQ, from all states of a phase."""
    T, B = path.u.shape[:2]
    if rule == "dfc_feedback":
        scale = 1 / ((T - 1) * B * max(c.sigma, 0.01) ** 2)
        return [-scale * np.einsum("tbi,tbj->ij", v_A[:-1], path.u[1:]) for v_A in path.v_A], None
    dW, db = [], []
    for i, name in enumerate(net.nonlinearities):
        phi, slope = PHI[name]
        if rule == "dfc_forward":
            g = 2 * (phi(path.v[i]) - phi(path.v_B[i]))
        else:
            g = 2 * (path.v[i] - path.v_B[i])
        if rule == "dfc_forward_derivative":
            g = g * slope(path.v[i][0])
        below = path.r[i - 1] if i else np.broadcast_to(path.x, (T, *path.x.shape))
        dW.append(np.einsum("tbi,tbj->ij", g, below) / (T * B))
        db.append(g.sum(axis=(0, 1)) / (T * B))
    return dW, db


@pytest.fixture(scope="session")
def transcription():
    """Return the published dynamics, its time averages, and its nonlinearities with slopes."""
    return SimpleNamespace(run=published, averaged=averaged, phi=PHI)


@pytest.fixture(scope="session")
def network():
    """Return a maker of networks with random weights and weight products as feedback, nearly."""
    from dfc_neuro.rates.network import Network

    def make(sizes, nonlinearities, seed, dtype=np.float64):
        rng = np.random.default_rng(seed)
        W = [rng.normal(0, np.sqrt(2 / (n + m)), (n, m))
             for n, m in zip(sizes[1:], sizes, strict=False)]
        Q, product = [], np.eye(sizes[-1])
        for w in reversed(W):
            Q.insert(0, product + rng.normal(0, 0.1, product.shape))
            product = w.T @ product
        b = [rng.normal(0, 0.3, n) for n in sizes[1:]]
        return Network(W, b, Q, tuple(nonlinearities)).astype(dtype)

    return make


@pytest.fixture(scope="session")
def circuit_with():
    """Return a maker of dfc_layered with dotted keys of its file set."""
    from dfc_neuro.files import keys as dotted
    from dfc_neuro.files import load
    from dfc_neuro.files.circuits import build_circuit

    def make(keys):
        circuit = load("dfc_layered", "circuit")
        table = copy.deepcopy(circuit.source)
        for key, value in keys.items():
            dotted.put(table, key, value, "test")
        return build_circuit(table, circuit.path, circuit.label)

    return make


@pytest.fixture(scope="session")
def shipped_rule(circuit_with):
    """Return a maker of the compiled rule of a file that is named, or given by its path."""
    from dfc_neuro.rates.layered import layered

    def make(rule, noise_scale=None):
        feedback = str(rule).endswith("feedback")
        names = ("Q1", "Q2") if feedback else ("W1", "W2")
        keys = {f"projections.{name}.rule": str(rule) for name in names}
        return layered(circuit_with(keys)).rule("Q" if feedback else "W", noise_scale)

    return make


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    """Return a function that writes a result of a shipped recording protocol, traces invented."""
    import tomli_w

    from dfc_neuro.files import resolve
    from dfc_neuro.files.units import quantity
    from dfc_neuro.measures import measures
    from dfc_neuro.results import Result, Writer

    folder, rng = tmp_path_factory.mktemp("made_up"), np.random.default_rng(0)

    def call(name):
        protocol = resolve.protocol(name, quick=True)
        labels = [label for label, _ in resolve.conditions(protocol)]
        auto = protocol.duration == "auto"
        end = 1.0 if auto else quantity(protocol.duration, "duration").value
        with Writer(folder / f"{name}.h5", {
                "name": name, "protocol": tomli_w.dumps(protocol.source)}) as writer:
            for key in protocol.plastic:  # whose weights a run always records
                writer.extend(f"recordings/{key}/w", rng.uniform(0, 1, (2, len(labels), 1)),
                              ("time", "condition", "synapse"), "1",
                              {"time": ([0, end], "second"), "condition": labels, "synapse": [0]})
            for key, record in protocol.record.items():
                count = 40 if auto or record.every is None else round(
                    end / quantity(record.every, "every").value)
                time = np.linspace(0, end, min(max(count, 40), 6000))
                if "spikes" in record.what:
                    writer.extend(f"spikes/{key}/time", time[1:9], ["spike"], "second")
                    writer.extend(f"spikes/{key}/unit", np.zeros(8, int), ["spike"])
                    writer.extend(f"spikes/{key}/condition", (labels * 8)[:8], ["spike"])
                    continue
                for variable in record.what:
                    kind, unit = ("synapse", "1") if variable == "w" else ("unit", "volt")
                    values = rng.uniform(-0.075, 0.02, (len(time), len(labels), 1))
                    writer.extend(f"recordings/{key}/{variable}", values,
                                  ("time", "condition", kind), unit,
                                  {"time": (time, "second"), "condition": labels, kind: [0]})
            writer.finish(derive=partial(measures, protocol))
        return Result(folder / f"{name}.h5")

    return call
