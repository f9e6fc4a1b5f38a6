"""Weight changes of cells of conductances against the rate rule: without noise, and from spikes."""

import numpy as np
from matplotlib.figure import Figure

from dfc_neuro import plot
from dfc_neuro.files.units import quantity

REQUIRES = {"a": {"protocol": "reduction_a"}, "b": {"protocol": "reduction_b"}}
POST, PRE = 40, 30
SHOWN = "2 nS, u=2.25"


def make(results):
    """Return the figure, 85 mm wide."""
    a, b = results["a"], results["b"]
    fig = Figure(figsize=(3.35, 3.2), layout="constrained")
    (scatter, gains), (noisy, time) = fig.subplots(2, 2)
    conditions = [str(c) for c in a["plasticity"]["w"].coords["condition"]]
    found = {c: test_a(a, c) for c in conditions}
    _scatter(scatter, *changes_a(a, SHOWN))
    scatter.set_title("no noise, $Qu$ 1 mV")
    gamma = {c: float(a.derived["gamma"].sel(condition=c)) for c in conditions}
    for amplitude, colour, marker in (("0.45", plot.BLUE, "o"), ("2.25", plot.ORANGE, "s"),
                                      ("9", plot.RED, "^")):
        own = [c for c in conditions if c.endswith(f"u={amplitude}")]
        if not own:
            continue
        label = {"0.45": "0.2 mV", "2.25": "1 mV", "9": "4 mV"}[amplitude]
        gains.plot([gamma[c] for c in own], [found[c][1] for c in own], marker, color=colour,
                   markersize=3, label=label)
    gains.plot([0, 1], [0, 1], color=plot.GREY, linewidth=0.5)
    gains.set_xlabel(r"$\gamma$")
    gains.set_ylabel("Gain of weight change")
    gains.legend(title="$Qu$")
    times, correlations, last = test_b(b)
    _scatter(noisy, *last)
    noisy.set_title(f"spikes, {times[-1]:g} s")
    time.semilogx(times, correlations, color=plot.BLUE)
    time.set_ylim(0, 1)
    time.set_xlabel("Time (s)")
    time.set_ylabel("Correlation")
    return fig


def _scatter(ax, rate, spiking):
    scale = np.abs(rate).max()
    ax.plot(rate.ravel() / scale, spiking.ravel() / scale, ".", color=plot.BLUE, markersize=1,
            rasterized=True)
    ax.plot([-1, 1], [-1, 1], color=plot.GREY, linewidth=0.5)
    ax.set_xlabel("Rate rule (norm.)")
    ax.set_ylabel("Cells (norm.)")


def phi(v):
    """Return the rate of a cell whose soma is v times V_slope above threshold."""
    return 1 / (1 + np.exp(-v))


def rate_rule(W, Q, u, x):
    """Return eta (phi(W x + Q u) - phi(W x)) x^T for one input x, eta of the protocols."""
    v = W @ x
    return 1e-6 * np.outer(phi(v + Q * u) - phi(v), x)


def changes_a(run, condition):
    """Return the changes of the weights (post, pre) by the rate rule and of the cells."""
    w = run["plasticity"]["w"].sel(condition=condition).values.reshape(-1, POST, PRE)
    Q = run["control"]["w"].sel(condition=condition).values[0]
    inputs = np.array(run.protocol["stimuli"]["x"]["values"])
    u = float(condition.partition("u=")[2])
    seconds = 0.25  # read in the second half of each input
    rate = sum(rate_rule(w[0], Q, u, x) * seconds for x in inputs)
    cells = sum(w[2 * k + 2] - w[2 * k + 1] for k in range(len(inputs)))
    return rate, cells


def test_a(run, condition):
    """Return correlation and gain of the cells' weight changes to the rate rule's."""
    rate, cells = changes_a(run, condition)
    return np.corrcoef(rate.ravel(), cells.ravel())[0, 1], (rate * cells).sum() / (rate**2).sum()


def test_b(run):
    """Return times, correlations up to each, and the changes at the end."""
    record = run["plasticity"]["w"]
    w = record.values.reshape(len(record.coords["time"]), POST, PRE)
    Q = run["control"]["w"].values.reshape(-1, POST)[0]
    cell = run.model["cells"]["post"]["parameters"]
    slope = quantity(cell["V_slope"], "V_slope").value
    drive = np.array([quantity(v, "x").value for v in run.protocol["stimuli"]["x"]["values"][0]])
    x = phi(drive * resistance(run.model["cells"]["input"]["parameters"]) / slope)
    rate = rate_rule(w[0], Q, run.protocol["stimuli"]["u"]["amplitude"], x)
    changed = [(part - w[0]).ravel() for part in w[1:]]
    correlations = [np.corrcoef(rate.ravel(), part)[0, 1] for part in changed]
    times = record.coords["time"][1:]
    return times, np.array(correlations), (rate * times[-1], w[-1] - w[0])


def resistance(parameters):
    """Return the input resistance of the soma, from the inverse of the conductance matrix."""
    q = {name: quantity(value, name).value for name, value in parameters.items()}
    bs, sa = q["g_basal_soma"], q["g_soma_apical"]
    G = [[q["g_L_basal"] + q["back_coupling"] * bs, -q["back_coupling"] * bs, 0],
         [-bs, q["g_L_soma"] + bs + sa, -sa], [0, -sa, q["g_L_apical"] + sa]]
    return np.linalg.inv(G)[1, 1]
