"""Leading real eigenvalue of the four stability matrices; negative where control is stable."""

from __future__ import annotations

import numpy as np

from dfc_neuro.diagnostics._snapshot import Snapshot
from dfc_neuro.diagnostics._stability import leading_eigenvalues
from dfc_neuro.rates.network import Forward
from dfc_neuro.rates.nonlinearities import NONLINEARITIES


def measure(state: Snapshot) -> dict[str, float]:
    """Return batch mean and standard deviation for each matrix.

    They are taken at the last controlled state if the snapshot holds it (``v``), else at the
    feedforward state.
    """
    control = state.need_control("stability")
    state.need_Q("stability")
    at = state.fwd
    if (state.final or {}).get("v") is not None:
        (v,) = state.need_final("stability", "v")
        at = Forward(state.fwd.x, v, [NONLINEARITIES[name].phi(a) for name, a in
                                      zip(state.net.nonlinearities, v, strict=True)])
    found = {}
    for name, values in leading_eigenvalues(
            state.net, at, alpha=control.alpha, k_p=control.k_p,
            tau=max(control.tau, control.dt)).items():
        found[name] = float(np.mean(values))
        found[f"{name}_sd"] = float(np.std(values))
    return found
