"""The noisy update of the feedback weights without steps of the network.

The published noise is small, so that the network follows it linearly.  Then layer i acts on the
output through J_i = d r_L / d v_i alone, and the somata's filters, equal in all layers, may stand
behind it.  So a sample is stepped as n_L (2 L + 3) numbers, whatever the widths of the layers; the
noise n_i[t], which moves the apical voltage by s_i n_i[t] in one step, is seen by the controller as
s_i J_i n_i[t]:

    c[t+1] = (1 - k_A) c[t] + k_A u             v_A,i = Q_i c + N_i
    q_i[t+1] = (1 - k_A) q_i[t] + s_i J_i n_i[t]
    Y_i[t+1] = (1 - k) Y_i[t] + k (M_i c[t+1] + q_i[t+1] + Y_{i-1}),    r_L - r_L^- = Y_L

with M_i = J_i Q_i, u at the new time if proactive and Y_{i-1} at the new time unless transmission
is delayed.  The rule needs the sum over time of v_A,i[t] u[t+1]^T.  Its second part is turned
around in time, so that the noise is read once more as it is, and never filtered:

    sum_t N_i[t] u[t+1]^T = s_i sum_t n_i[t] g[t]^T,        g[t] = u[t+2] + (1 - k_A) g[t+1]

The noise is that of Euler's steps with the same seed, sample by sample and step by step.  The
update differs from theirs by what the nonlinearity does within the noise, in first order of sigma:
by 0.1 % for the MNIST constants of the paper, where another draw of the noise changes it by more
than its own size.
"""

from __future__ import annotations

import numpy as np

from dfc_neuro.errors import EngineError
from dfc_neuro.rates import threads as pools
from dfc_neuro.rates._noisy import noisy_block
from dfc_neuro.rates.compile import RuleKernel
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.expected import check_finite
from dfc_neuro.rates.flat import joined, split
from dfc_neuro.rates.network import Forward, Network, slopes
from dfc_neuro.rates.rules import apical_control_factor

Array = np.ndarray
TOLERANCE = 1e-2  # of the update with the same noise, relative: where steps are taken instead
BLOCK = 16  # samples at a time
MOST = 2**24  # normal numbers of one sample that may be held


def applies(rule: RuleKernel, net: Network, control: Control) -> bool:
    """Return whether a rule is c v_A,i[t] u[t+1]^T, c < 0, and a sample's noise can be held.

    And whether the network is a chain of layers, without skip projections.
    """
    try:
        apical_control_factor(rule)
    except EngineError:
        return False
    return not net.skips and control.steps * sum(net.sizes[1:]) <= MOST


def noisy_update(net: Network, control: Control, fwd: Forward, rule: RuleKernel, *,
                 seed: int | None = None, noise: list[Array] | None = None,
                 samples: Array | None = None, threads: int | None = None) -> list[Array]:
    """Return the mean of c v_A,i[t] u[t+1]^T over T - 1 steps and the minibatch, linearised.

    Parameters
    ----------
    net : Network
        Weights; its dtype is the precision of the run.
    control : Control
        Constants of the phase, with its noise.
    fwd : Forward
        Feedforward pass of the minibatch, B samples; the network's own output is the target.
    rule : RuleKernel
        A rule for which :func:`applies`; c is its factor.
    seed : int, optional
        Key of the noise, as in :func:`dfc_neuro.rates.simulate.simulate`.
    noise : list of (T - 1, B, n_i), optional
        Standard normal draws instead.
    samples : int (B,), optional
        Numbers of the samples; 0..B-1 if not given.
    threads : int, optional
        Threads to use; all that are available if not given.  They do not change the result.

    Returns
    -------
    list of (n_i, n_L)

    Raises
    ------
    EngineError
        If the rule is another.
    NumericalError
        If the loop grows beyond all numbers within the phase.
    """
    F, B, (sizes, _), places = net.dtype, len(fwd.x), net.layout, net.places
    total, n_L = int(sizes[1:].sum()), net.sizes[-1]
    W, Q = joined(net.W), joined(net.Q)
    constants = np.array([control.dt, control.alpha, control.k_p, control.soma_step,
                          control.apical_step, *control.noise_steps], F)
    numbers = np.arange(B) if samples is None else np.asarray(samples)
    slope = slopes(net, fwd)
    size = max(1, min(BLOCK, MOST // (control.steps * total)))

    def run(block: slice) -> tuple[Array, Array]:
        dQ, K = np.zeros(n_L * total, F), np.zeros((n_L, n_L), F)
        given = (np.concatenate([z[:, block] for z in noise], axis=2, dtype=F)
                 if noise is not None else np.empty((0, 0, 0), F))
        noisy_block(sizes, places, W, Q, joined([part[block] for part in slope]),
                    np.ascontiguousarray(numbers[block], np.int64), constants,
                    max(control.steps - 2, 0), control.delayed, control.proactive,
                    0 if seed is None else seed, given, dQ, K)
        return dQ, K

    done = pools.over(run, [slice(lo, min(lo + size, B)) for lo in range(0, B, size)], threads)
    scale = F.type(apical_control_factor(rule) / (B * (control.steps - 1)))
    K = np.sum([part for _, part in done], axis=0, dtype=F)
    parts = split(np.sum([part for part, _ in done], axis=0, dtype=F), [Q_i.shape for Q_i in net.Q])
    update = [scale * (part + Q_i @ K) for part, Q_i in zip(parts, net.Q, strict=True)]
    check_finite(update, control, "feedback update")
    return update
