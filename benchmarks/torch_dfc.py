"""Deep Feedback Control as a plain PyTorch loop over time steps, in float64.

It stands for the default of the authors' public code wherever that is not at hand: each step is a
few small tensor operations issued from Python, the constant drive of the first layer is computed
again at every step, and v_A, v_B, v and r of every layer are kept for every step; the update is
taken from them at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dfc_neuro.rates.control import Control

Array = np.ndarray
PHI: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "linear": lambda v: v.clone(),
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "leaky_relu": lambda v: torch.nn.functional.leaky_relu(v, 0.2),
}


@dataclass
class History:
    """Every state of a phase: ``u`` (T, B, n_L); lists over layers of (T, B, n_i)."""

    u: torch.Tensor
    v_apical: list[torch.Tensor]
    v_basal: list[torch.Tensor]
    v_soma: list[torch.Tensor]
    r: list[torch.Tensor]


def tensors(arrays: list[Array]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(a, np.float64)) for a in arrays]


def trajectory(W: list[Array], b: list[Array], Q: list[Array], names: tuple[str, ...], x: Array,
               delta: Array, c: Control) -> History:
    """Run the network from its feedforward state towards r_L^- + `delta`.

    Parameters
    ----------
    W, b, Q : lists of (n_i, n_{i-1}), (n_i,), (n_i, n_L)
    names : tuple of str
        The nonlinearity of each layer.
    x, delta : (B, n_0), (B, n_L)
        Input; output target minus feedforward output.
    c : Control
        Constants; forward Euler, no noise.
    """
    weight, bias, back = tensors(W), tensors(b), tensors(Q)
    phi = [PHI[name] for name in names]
    r_0, away = tensors([x, delta])
    T, B, L = c.steps, len(x), len(weight)
    k = 1.0 if c.instant_system else c.dt / max(c.tau, c.dt)
    k_A = c.dt / c.tau_A if c.tau_A else 1.0

    def room() -> list[torch.Tensor]:
        return [torch.zeros(T, B, len(w), dtype=torch.float64) for w in weight]

    v_A, v_B, v, r = room(), room(), room(), room()
    u = torch.zeros(T, B, len(weight[-1]), dtype=torch.float64)
    integral = torch.zeros_like(u[0])
    for i in range(L):
        v_B[i][0] = (r[i - 1][0] if i else r_0) @ weight[i].T + bias[i]
        v[i][0] = v_B[i][0]
        r[i][0] = phi[i](v[i][0])
    goal = r[-1][0] + away

    for t in range(T - 1):
        e = goal - r[-1][t]
        integral = integral + c.dt * (e - c.alpha * u[t])
        u[t + 1] = integral + c.k_p * e
        used = u[t + 1] if c.proactive else u[t]
        for i in range(L):
            below = r[i - 1][t if c.delayed else t + 1] if i else r_0
            v_B[i][t + 1] = below @ weight[i].T + bias[i]
            v_A[i][t + 1] = v_A[i][t] + k_A * (used @ back[i].T - v_A[i][t])
            v[i][t + 1] = v[i][t] + k * (v_A[i][t + 1] + v_B[i][t + 1] - v[i][t])
            r[i][t + 1] = phi[i](v[i][t + 1])
    return History(u, v_A, v_B, v, r)


def update(W: list[Array], b: list[Array], Q: list[Array], names: tuple[str, ...], x: Array,
           labels: Array, nudge: float, c: Control) -> tuple[list[Array], list[Array]]:
    """Return dW and db of one minibatch of labelled inputs, means over samples and states.

    Arguments are those of :func:`trajectory`; the target is `nudge` (lambda) down the gradient of
    the cross-entropy.
    """
    r = torch.from_numpy(x)
    for w, a, name in zip(tensors(W), tensors(b), names, strict=True):
        r = PHI[name](r @ w.T + a)
    r.requires_grad_(True)
    torch.nn.functional.cross_entropy(r, torch.from_numpy(labels)).backward()
    assert r.grad is not None
    h = trajectory(W, b, Q, names, x, (-nudge * r.grad).numpy(), c)
    dW, db = [], []
    scale = 2.0 / (c.steps * len(x))
    for i, name in enumerate(names):
        g = PHI[name](h.v_soma[i]).sub_(PHI[name](h.v_basal[i])).mul_(scale)
        if i:
            dW.append(g.flatten(0, 1).T @ h.r[i - 1].flatten(0, 1))
        else:
            dW.append(g.sum(dim=0).T @ torch.from_numpy(x))
        db.append(g.sum(dim=(0, 1)))
    return [a.numpy() for a in dW], [a.numpy() for a in db]
