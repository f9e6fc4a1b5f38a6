"""The time average of DFC in closed form: no steps of the network, any length of the phase.

Summing each equation of the Euler scheme over time telescopes, so the time averages of a
linearised network follow from its last state, and that from a short chain
(:mod:`dfc_neuro.rates._chain`).  With N stored states of step dt, T = N dt, k and k_A the somatic
and apical steps, bars for time averages and e for the last state:

    delta_i = mean(v_i - v^B_i) = Q_i w - beta x_{i,e},      beta = (1/k - 1)/N
    (J Q + alpha I) w = e0 + beta sum_i J_i x_{i,e} + zeta sum_{i<L} J_i x_{i,e} - u_int,e/T
                        - (e_e - alpha u_e)/N - alpha g
    g = ((1/k_A - 1) u~_e + [not proactive] u_e)/N,           zeta = [delayed]/N

Then one forward sweep with delta_i, and the rule is read at the averaged state.

What is left is second order in the displacement.  The sweep's output shows one part of it, as the
Newton step s that would remove it; the other is the difference of the average of a function and
the function of the average, which is s times the variance over time of the filtered control,
relative to the square of its mean: c.  So the error is put at 5 s (1 + c), and after one Newton
step, whose own residual is s', at s' + 20 s (c + 0.02).  The numbers allow for what the output
does not show; on small networks of tanh and sigmoid units, for nudges of 1e-4 to 0.1 and T of 1 to
20 tau_u, the error of the update is then below three times the estimate.
Where the error of the output has grown, the loop is unstable and the estimate infinite.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np

from dfc_neuro.rates import threads as pools
from dfc_neuro.rates._chain import chain
from dfc_neuro.rates.algebra import terms
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Forward, Network, slopes
from dfc_neuro.rates.simulate import phi_deviation
from dfc_neuro.rates.steady_state import layer_gains, sweep

Array = np.ndarray
TOLERANCE = 1e-4  # of the update, relative
TINY = 1e-300  # instead of 0, to divide by
DIFFERENCES = {"mismatch_post", "somatic_difference_post", "apical_post", "v_apical_post"}
HELD = {"gain_post"}


@dataclass
class Averaged:
    """Time averages of a minibatch as deviations from the feedforward state, and the last state.

    ``x``, ``basal``, ``apical`` are lists of (B, n_i); ``u`` and ``error`` (B, n_L) belong to the
    last state; `estimate` is the relative error that is left; `newton` says whether a Newton step
    was taken.
    """

    x: list[Array]
    basal: list[Array]
    apical: list[Array]
    u: Array
    error: Array
    estimate: float
    newton: bool


def applies(rule: RuleKernel) -> bool:
    """Return whether the average of a rule is the rule at the average, to first order.

    That is so where every postsynaptic factor is a difference that vanishes without control,
    times what is held, and every presynaptic one the rate.
    """
    plan = rule.separated
    if rule.feedback or rule.by_synapse or set(plan.pre) != {"rate_pre"}:
        return False
    for post in plan.post:
        for term in terms(ast.parse(post, mode="eval").body):
            powers = {name: p for name, p in term if name.endswith("_post")}
            if any("(" in name for name, _ in term):
                return False
            if sum(powers.get(n, 0) for n in DIFFERENCES) != 1 or set(powers) - DIFFERENCES - HELD:
                return False
    return True


def time_average(net: Network, control: Control, fwd: Forward, delta: Array, *,
                 threads: int | None = None) -> Averaged:
    """Return the time averages of the control phase, and its last state.

    Parameters
    ----------
    net, control, fwd : Network, Control, Forward
        The network, the constants of the phase, the feedforward pass of the minibatch.
    delta : (B, n_L)
        Output target minus feedforward output.
    """
    F, N = net.dtype, control.steps
    slope = slopes(net, fwd)
    M = layer_gains(net, slope, threads)
    e0 = delta.astype(np.float64)
    f, u, u_int, u_slow, e_end, spread = _run_chain(M, e0, control, threads)
    k, k_A = control.soma_step, control.apical_step
    beta, zeta = (1.0 / k - 1.0) / N, float(control.delayed) / N
    g = ((1.0 / k_A - 1.0) * u_slow + (0.0 if control.proactive else u)) / N

    # what layers up to i do to the output through layer i, at the end: J_i x_{i,e}
    Jx = [sum((M[j] @ f[i - j, :, :, None])[..., 0] for j in range(i + 1))
          for i in range(net.depth)]
    fixed = e0 - u_int / (N * control.dt) - (e_end - control.alpha * u) / N - control.alpha * g
    right = fixed + beta * sum(Jx) + zeta * sum(Jx[:-1], np.zeros_like(e0))
    inverse = np.linalg.inv(sum(M) + control.alpha * np.eye(delta.shape[1]))
    w = (inverse @ right[..., None])[..., 0]

    x_end = _last_somata(net, slope, [f_j.astype(F) for f_j in f])
    # with delayed transmission the mean misses the last presynaptic deviation
    late = [F.type(zeta) * D * x for D, x in zip(slope, x_end, strict=True)] if zeta else None
    started, left = np.linalg.norm(e0, axis=1), np.linalg.norm(e_end, axis=1)
    missed = 0.0
    newton = False
    while True:
        apical = [w.astype(F) @ Q.T for Q in net.Q]
        shift = [a - F.type(beta) * end for a, end in zip(apical, x_end, strict=True)]
        x, basal = sweep(net, fwd, shift, late)
        dr_L = phi_deviation(net.nonlinearities[-1], fwd.v[-1], fwd.r[-1], x[-1])
        step = (inverse @ (fixed - dr_L - control.alpha * w)[..., None])[..., 0]
        size = float(np.linalg.norm(step)) / max(float(np.linalg.norm(w)), TINY)
        if newton:
            estimate = size + 20.0 * missed * (0.02 + spread)
        else:
            missed, estimate = size, 5.0 * size * (1.0 + spread)
        if np.any(left > started):
            estimate = np.inf
        if newton or estimate < TOLERANCE or not np.isfinite(estimate):
            return Averaged(x, basal, apical, u.astype(F), e_end.astype(F), estimate, newton)
        w, newton = w + step, True


def _run_chain(M: list[Array], e0: Array, control: Control, threads: int | None
               ) -> tuple[Array, Array, Array, Array, Array, float]:
    """Return f (L, B, n_L), u, u_int, the filtered u, and e of the last state, (B, n_L) each.

    f[j] is the apically filtered control after j + 1 somatic filters.  The number at the end is
    the variance of f[0] over time, relative to the square of its mean.
    """
    B, n = e0.shape
    side_by_side = np.concatenate(M, axis=2)
    g = np.empty((B, len(M) * n))
    ends = [np.empty((B, n)) for _ in range(6)]
    constants = np.array([control.dt, control.alpha, control.k_p, control.soma_step,
                          control.apical_step])

    def run(block: slice) -> None:
        chain(side_by_side[block], e0[block], constants, control.steps, control.delayed,
              control.proactive, g[block], *(end[block] for end in ends))

    pools.over_blocks(run, B, threads)
    u, u_int, u_slow, error, total, square = ends
    mean_square = float(np.sum(total**2)) / control.steps**2
    spread = float(np.sum(square)) / control.steps / max(mean_square, TINY) - 1.0
    return (g.reshape(B, len(M), n).transpose(1, 0, 2)[::-1], u, u_int, u_slow, error,
            max(spread, 0.0))


def _last_somata(net: Network, slope: list[Array], f: list[Array]) -> list[Array]:
    """Return x_{i,e}: X_i^(k) = Q_i f_k + W_i D_{i-1} X_{i-1}^(k+1), and x_{i,e} = X_i^(1)."""
    depth = net.depth
    below: list[Array] = []
    ends = []
    for i in range(depth):
        here = [f[k] @ net.Q[i].T for k in range(depth - i)]
        if i:
            for k, X in enumerate(here):
                X += (slope[i - 1] * below[k + 1]) @ net.W[i].T
        below = here
        ends.append(here[0])
    return ends
