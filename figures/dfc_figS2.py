"""Figure S2: feedback weights while they learn turn to the damped pseudoinverse, by damping."""

from matplotlib.figure import Figure

from dfc_neuro.figures._curves import family, needed

KEY = "diagnostics.gamma"
REQUIRES = needed("dfc_figS2", KEY, [0, 0.1, 1, 5, 10, 100, 1000])


def make(results):
    """Return the figure, 175 mm wide."""
    fig = Figure(figsize=(6.9, 3.4), layout="constrained")
    return family(fig, results, r"Damping $\gamma$", {
        "angle_q_jt": "Angle of Q to $J^T$ (°)",
        "angle_q_pinv": r"Angle of Q to damped $J^\dagger$ (°)",
        "condition_2": "Condition 2",
    })
