"""Figure 2: feedback directions that give stable control, and pseudoinverses, in their plane."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "dfc_fig2", "seed": 42}}
DRAWN = 2000
DAMPINGS = np.logspace(-5, 2, 100)


def make(results):
    """Return the figure, 85 mm wide: density of stable Q, and J^T to J^+ over damping."""
    J = jacobian(results["run"])
    stable = stable_directions(J, np.random.default_rng(results["run"].attrs["seed"]))
    curve = np.array([direction(damped(J, gamma)) for gamma in DAMPINGS])
    ends = np.array([direction(J.T), direction(np.linalg.pinv(J))])
    every = np.concatenate([stable, curve, ends])
    centre = every.mean(axis=0)
    axes = np.linalg.svd(every - centre, full_matrices=False)[2][:2]  # principal components
    points, path, (transpose, inverse) = (
        (part - centre) @ axes.T for part in (stable, curve, ends))

    fig = Figure(figsize=(3.35, 2.7), layout="constrained")
    ax = fig.subplots()
    density = ax.hexbin(*points.T, gridsize=20, cmap="Greys", vmin=0, mincnt=1)
    fig.colorbar(density, ax=ax, label="Number of stable Q")
    ax.plot(*path.T, color=plot.BLUE, label=r"damped $J^\dagger$")
    ax.plot(*transpose, "s", color=plot.RED, label="$J^T$")
    ax.plot(*inverse, "o", color=plot.ORANGE, label=r"$J^\dagger$")
    ax.set_xlabel("Principal component 1")
    ax.set_ylabel("Principal component 2")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


def jacobian(run):
    """Return J = [W_2 diag(phi'(v_1)), I] (n_L, sum n_i) of the network without control."""
    W = run.weights["W2"].values
    v = run["voltages"]["v_soma"].isel(epoch=0, time=0, sample=0).values
    return np.hstack([W * (1 - np.tanh(v) ** 2), np.eye(len(W))])


def damped(J, gamma):
    """Return J^T (J J^T + gamma I)^-1."""
    return J.T @ np.linalg.inv(J @ J.T + gamma * np.eye(len(J)))


def direction(Q):
    """Return the entries of Q at unit Frobenius norm."""
    return Q.ravel() / np.linalg.norm(Q)


def stable_directions(J, rng):
    """Return those of random Q = J^T P for which no eigenvalue of J Q has a negative real part."""
    found = []
    for P in rng.normal(size=(DRAWN, len(J), len(J))):
        Q = J.T @ P
        if np.linalg.eigvals(J @ Q).real.min() >= 0:
            found.append(direction(Q))
    return np.array(found)
