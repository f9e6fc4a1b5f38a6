"""Mean norm of the rates over the layers 0..L-1, and each layer's relative distance to it."""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._snapshot import Snapshot


def measure(state: Snapshot) -> dict[str, float]:
    """Return m = mean_i |r_i| ("network") and (|r_i| - m)/m for each layer, batch means."""
    norms = np.stack([np.linalg.norm(r, axis=1) for r in state.fwd.presynaptic])
    m = norms.mean(axis=0)
    with np.errstate(invalid="ignore"):
        apart = ((norms - m) / m).mean(axis=1)
    return {"network": float(m.mean())} | {f"r{i}": float(v) for i, v in enumerate(apart)}
