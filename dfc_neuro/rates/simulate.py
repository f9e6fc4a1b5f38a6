"""Run a minibatch through a phase of control, in blocks of samples over threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dfc_neuro.errors import NumericalError
from dfc_neuro.rates import threads as pools
from dfc_neuro.rates.compile import RuleKernel, compile_rule
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.flat import joined, split
from dfc_neuro.rates.network import Forward, Network, Update, slopes
from dfc_neuro.rates.nonlinearities import NONLINEARITIES

Array = np.ndarray
BOUND = 1e6  # a deviation of any voltage beyond this stops a run


@dataclass
class Trajectory:
    """The stored states of a phase; absolute values, arrays (stored states, B, n)."""

    time_step: Array
    u: Array
    v_soma: list[Array]
    v_basal: list[Array]
    v_apical: list[Array]
    r: list[Array]


@dataclass
class Controlled:
    """What a phase of control leaves behind.

    ``dW`` and ``db`` are means of the rule over samples and over the stored states (over the
    steps, for feedback weights, whose list is ``dW`` too).  The last state is given as deviations
    from the feedforward state: ``x`` soma, ``basal``, ``apical`` (lists of (B, n_i)); ``u``
    (B, n_L) is the control itself.
    """

    fwd: Forward
    u: Array
    x: list[Array]
    basal: list[Array]
    apical: list[Array]
    dW: list[Array]
    db: list[Array]
    trajectory: Trajectory | None = None

    @property
    def update(self) -> Update:
        return Update(self.dW, self.db)


@lru_cache(maxsize=1)
def no_rule() -> RuleKernel:
    """Return the kernel of a network that does not learn."""
    return compile_rule("dw/dt = 0*rate_post*rate_pre : 1", None, {})


def phi_deviation(name: str, v: Array, r: Array, x: Array) -> Array:
    """Return phi(v + x) - phi(v) for r = phi(v), without cancellation; arrays of one shape."""
    from dfc_neuro.rates import _elementwise

    result = np.empty_like(x)
    _elementwise.deviation(NONLINEARITIES[name].code, v.ravel(), r.ravel(), x.ravel(),
                           result.reshape(-1))
    return result


def deviation(net: Network, fwd: Forward, x: list[Array]) -> list[Array]:
    """Return phi_i(v_i^- + x_i) - phi_i(v_i^-) of every layer, without cancellation."""
    return [phi_deviation(*of) for of in zip(net.nonlinearities, fwd.v, fwd.r, x, strict=True)]


def _flat(parts: list[Array], dtype: np.dtype) -> Array:
    return np.concatenate([np.asarray(p, dtype).ravel() for p in parts])


def _corrector(net: Network, control: Control) -> Array:
    """Return (I + g Q_L)^-1 g Q_L, flat, g the effect of an error on the output in one step."""
    if not control.second_order:
        return np.empty(0, net.dtype)
    gain = control.soma_ahead * control.apical_ahead * control.control_gain
    own = gain * net.Q[-1].astype(np.float64)
    return np.linalg.solve(np.eye(len(own)) + own, own).astype(net.dtype).ravel()


def rule_parameters(rule: RuleKernel, dtype: np.dtype) -> Array:
    """Return a rule's parameters as the kernels take them; never empty."""
    return np.array(rule.parameters or (0.0,), dtype)


def combined(rule: RuleKernel, weights: list[Array], layers: Sequence[int],
             products: Sequence[list[Array]], sums: Sequence[list[Array]]) -> Update:
    """Return the mean of a rule from those of its products and of its postsynaptic factors.

    Parameters
    ----------
    rule : RuleKernel
        A rule that is a sum of products.
    weights : list of (n_i, m_i)
        The weights that it changes.
    layers : sequence of int
        The layer, from 0, that each of them goes to.
    products : lists of (n_i, m_i)
        For each factor of w, the means of what it multiplies.
    sums : lists of (n_i,)
        For each postsynaptic factor, its means; only those that the rule needs by themselves.
    """
    plan, dW = rule.separated, products[0]
    for i, (w, layer) in enumerate(zip(weights, layers, strict=True)):
        if len(plan.weight) > 1:
            flat = np.ascontiguousarray(w).ravel()
            factors = np.empty((len(plan.weight), *w.shape), w.dtype)
            rule.module.weight_factors(flat, rule_parameters(rule, w.dtype), factors.reshape(-1),
                                       w.size)
        for c in {c for c, _, _ in plan.products} - {0}:
            dW[i] += factors[c] * products[c][i]
        for c, a in plan.rows:
            column = sums[a][layer][:, None]
            dW[i] += factors[c] * column if c else column
    db = sums[plan.bias] if plan.bias >= 0 else [np.zeros_like(part) for part in sums[0]]
    return Update(dW, db)


def simulate(
    net: Network,
    control: Control,
    fwd: Forward,
    delta: Array,
    *,
    rule: RuleKernel | None = None,
    noise: list[Array] | None = None,
    seed: int | None = None,
    samples: Array | None = None,
    record_every: int = 0,
    bound: float = BOUND,
    threads: int | None = None,
) -> Controlled:
    """Run the controlled dynamics (dfc.md 1.4) from the feedforward state.

    Parameters
    ----------
    net : Network
        Weights; its dtype is the precision of the run.
    control : Control
        Constants of the phase.
    fwd : Forward
        Feedforward pass of the minibatch, B samples.
    delta : (B, n_L)
        Output target minus feedforward output.
    rule : RuleKernel, optional
        The rule to average; without it nothing is learned.  One that is read a synapse at a time
        is read once, at the average of the states.
    noise : list of (T - 1, B, n_i), optional
        Standard normal draws.  Without them `seed` makes the noise, if the control asks for any.
    seed : int, optional
        Key of the noise; a sample's noise depends on it and on its number in `samples` only.
    samples : int (B,), optional
        Numbers of the samples; 0..B-1 if not given.
    record_every : int
        Store every so many states; 0 stores none.
    bound : float
        A voltage's deviation beyond which the run stops; 0 turns the guard off.
    threads : int, optional
        Threads to use; all that are available if not given.

    Returns
    -------
    Controlled

    Raises
    ------
    NumericalError
        If a voltage passes `bound` or is not finite; the message names layer and time.
    """
    F = net.dtype
    B, sizes = len(fwd.x), net.sizes
    rule = rule or no_rule()
    by_synapse = rule.by_synapse
    kernel = no_rule() if by_synapse else rule
    learn = kernel is not no_rule()
    total, n_L = sum(sizes[1:]), sizes[-1]
    W, Q = joined(net.W), joined(net.Q)
    n, codes = net.layout
    skips = net.places[net.depth:]
    noisy = 0
    if noise is not None:
        noisy = 1
    elif control.sigma or control.sigma_output:
        noisy = 2
    s_hidden, s_output = control.noise_steps
    constants = np.array([control.dt, control.alpha, control.k_p, control.soma_step,
                          control.apical_step, s_hidden, s_output, bound, control.soma_ahead,
                          control.apical_ahead, control.control_gain], F)
    flags = np.array([control.steps, control.delayed, control.proactive, noisy, record_every,
                      learn, control.second_order], np.int64)
    corrector = _corrector(net, control)
    gain = slopes(net, fwd)
    numbers = np.arange(B) if samples is None else np.asarray(samples)
    p = rule_parameters(kernel, F)
    plan = kernel.separated
    stored = -(-control.steps // record_every) if record_every else 0
    size = 64 if B >= 128 else 32
    blocks = [slice(lo, min(lo + size, B)) for lo in range(0, B, size)]

    def run(block: slice):
        def cut(parts: list[Array]) -> Array:
            return _flat([part[block] for part in parts], F)

        S = block.stop - block.start
        dW = np.zeros(len(plan.weight) * (Q if rule.feedback else W).size, F)
        db = np.zeros(len(plan.post) * total, F)
        end = (np.zeros(S * n_L, F), *(np.zeros(S * total, F) for _ in range(3)),
               *(np.zeros(S * total if by_synapse else 0, F) for _ in range(3)))
        trace = (np.empty((stored, S, n_L), F), *(np.empty((stored, S, total), F)
                                                  for _ in range(4)))
        given = (np.ascontiguousarray(np.concatenate([z[:, block] for z in noise], axis=2), F)
                 if noise is not None else np.empty((0, 0, 0), F))
        trouble = np.zeros(2, np.int64)
        kernel.module.dynamics(
            n, skips, codes, W, Q, corrector, cut([fwd.x]), cut(fwd.v), cut(fwd.r), cut(gain),
            cut([delta]),
            np.ascontiguousarray(numbers[block], np.int64), constants, flags, given,
            0 if seed is None else seed, p, dW, db, end, trace, trouble)
        return dW, db, end, trace, trouble

    done = pools.over(run, blocks, threads)

    troubles = [d[4] for d in done if d[4][0]]
    if troubles:
        layer, step = min(troubles, key=lambda at: at[1])
        raise NumericalError(
            f"the somatic voltage of layer {layer} passed {bound:g} (or is not finite) at time "
            f"{step * control.dt:.4g} tau_u (step {step}): the feedback loop is unstable; "
            "check the stability of Q, lower dt or k_p, or raise numerics.bound")

    def block_shapes(S: int) -> list[tuple[int, ...]]:
        return [(S, n) for n in sizes[1:]]

    def collect(which: int) -> list[Array]:
        parts = [split(d[2][which], block_shapes(d[2][0].size // n_L)) for d in done]
        return [np.concatenate(layer) for layer in zip(*parts, strict=True)]

    update = Update([], [])
    if by_synapse:
        from dfc_neuro.rates.rules import apply_rule

        mean = [[a / F.type(control.steps) for a in collect(k)] for k in (4, 5, 6)]
        update = apply_rule(rule, net, fwd, *mean)
    elif learn:
        scale = F.type(1.0 / (B * (control.steps - 1 if rule.feedback else control.steps)))
        weights = net.Q if rule.feedback else net.W
        layers = range(net.depth) if rule.feedback else [i for i, _ in net.links]
        products = sum(d[0] for d in done).reshape(len(plan.weight), -1) * scale
        sums = sum(d[1] for d in done).reshape(len(plan.post), -1) * scale
        update = combined(rule, weights, layers,
                          [split(part, [w.shape for w in weights]) for part in products],
                          [split(part, [(n,) for n in sizes[1:]]) for part in sums])
    trajectory = _trajectory(net, fwd, done, record_every) if record_every else None
    u = np.concatenate([d[2][0].reshape(-1, n_L) for d in done])
    return Controlled(fwd, u, collect(1), collect(2), collect(3), update.dW, update.db,
                      trajectory)


def _trajectory(net: Network, fwd: Forward, done: list, every: int) -> Trajectory:
    traces = [np.concatenate([d[3][k] for d in done], axis=1) for k in range(5)]
    edges = np.cumsum(net.sizes[1:])[:-1]

    def layers(k: int) -> list[Array]:
        return [np.ascontiguousarray(a) for a in np.split(traces[k], edges, axis=2)]

    def absolute(k: int, base: list[Array]) -> list[Array]:
        return [part + free for part, free in zip(layers(k), base, strict=True)]

    return Trajectory(np.arange(len(traces[0])) * every, traces[0], absolute(1, fwd.v),
                      absolute(2, fwd.v), layers(3), absolute(4, fwd.r))
