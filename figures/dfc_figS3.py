"""Figure S3: feedback weights while they learn turn to the damped pseudoinverse, by leak."""

from matplotlib.figure import Figure

from dfc_neuro.figures._curves import family, needed

KEY = "phases.feedback.controllers.control.alpha"
REQUIRES = needed("dfc_figS3", KEY, [0, 0.001, 0.01, 0.1, 0.5, 1])


def make(results):
    """Return the figure, 175 mm wide."""
    fig = Figure(figsize=(6.9, 3.4), layout="constrained")
    return family(fig, results, r"Leak $\alpha$", {
        "angle_q_jt": "Angle of Q to $J^T$ (°)",
        "angle_q_pinv": r"Angle of Q to damped $J^\dagger$ (°)",
        "condition_2": "Condition 2",
    })
