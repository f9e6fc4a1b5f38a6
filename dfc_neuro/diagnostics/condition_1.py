"""Condition 1: relative spread of the norms of what layers read, |r_{i-1}|; 0 where it holds."""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._snapshot import Snapshot


def measure(state: Snapshot) -> float:
    """Return mean_b sqrt(mean_i (|r_i| - m)^2) / m, with m = mean_i |r_i| over layers 0..L-1.

    A layer with skip projections counts by the norm of all rates that it reads.

    The published code computes sqrt(mean_i (|r_i| - m)^2 / m), which has the unit of a square
    root of a rate; `as_published` brings it back.
    """
    net, rates = state.net, state.fwd.presynaptic
    norms = np.stack([
        np.linalg.norm(np.concatenate([rates[j] for k, j in net.links if k == i], axis=1), axis=1)
        for i in range(net.depth)])
    m = norms.mean(axis=0)
    spread = ((norms - m) ** 2).mean(axis=0)
    with np.errstate(invalid="ignore"):
        value = np.sqrt(spread / m) if state.as_published else np.sqrt(spread) / m
    return float(value.mean())
