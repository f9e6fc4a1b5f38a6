"""BCM against the linear theory of its sliding threshold; Guerguiev's rule from the voltages."""

import brian2 as b2
import numpy as np
import pytest
from scipy.linalg import expm

from dfc_neuro import brian
from dfc_neuro.brian import device
from dfc_neuro.brian.build import RECORDS, build
from dfc_neuro.brian.scheme import Link, Scheme
from dfc_neuro.errors import EngineError
from dfc_neuro.files import resolve
from dfc_neuro.files.load import load, validate
from dfc_neuro.results import Result, Writer


def test_bcm_settles_at_its_fixed_point_and_loses_it_where_the_threshold_is_too_slow():
    """One input x, a linear neuron y = w x, E = eta x^2: fixed points y = theta = 0 and 1.

    About y = 1 the deviations (y, theta) follow [[E, -E], [2, -1]/tau_theta], whose trace is
    E - 1/tau_theta and determinant E/tau_theta.  So it is stable where E tau_theta < 1, here 0.25,
    and loses stability in a growing oscillation above, here 1.44.  The lag tau_v of the neuron is
    a third row.  A third neuron starts far away.
    """
    x, tau_v, dt, steps = np.array([0.5, 1.2, 0.7]), 0.02, 0.005, 8000
    start = np.array([1.0, 1.0, 0.4])  # of y
    plain = load("pyramidal_rate", "cell")
    linear = validate({**plain.source, "functions": {"phi(x)": "x", "dphi(x)": "1"}}, plain.path,
                      "linear.toml")
    link = Link("W", "input", "rate", "neuron", "basal", np.array([0]), np.array([0]),
                (start / x)[:, None], rule=load("bcm", "rule"))
    scheme = Scheme({"neuron": linear}, {}, {"input": "rate"}, {"input": 1, "neuron": 1}, (link,))
    built = build(scheme, replicas=3, dt=dt, method="rk2")
    built.array("input", "rate")[:] = x
    built.array("neuron", "v_soma")[:] = start
    built.array("neuron", "theta_W")[:] = start**2 + 1e-3
    monitor = b2.StateMonitor(built.groups["neuron"], ["v_soma", "theta_W"], record=True,
                              clock=built.clock, when="groups", order=RECORDS)
    weights = b2.StateMonitor(built.synapses["W"], "w", record=True, clock=built.clock,
                              when="groups", order=RECORDS)
    built.extra += [monitor, weights]
    with device.code("numpy"):
        built.network().run(steps * dt * b2.second, namespace={})
    y, theta, w = (np.array(a) for a in (monitor.v_soma, monitor.theta_W, weights.w))

    at = round(4 / dt)
    for k, stable in ((0, True), (1, False)):
        E = x[k] ** 2
        jacobian = np.array([[-1 / tau_v, 1 / tau_v, 0], [E, 0, -E], [2, 0, -1]])  # y, w x, theta
        assert (np.linalg.eigvals(jacobian).real.max() < 0) == stable
        expected = 1 + expm(jacobian * at * dt) @ [0, 0, 1e-3]
        found = np.array([y[k, at], w[k, at] * x[k], theta[k, at]])
        np.testing.assert_allclose(found, expected, rtol=0, atol=6e-5)
        assert np.abs(expected - 1).max() > (3e-4 if stable else 2e-3)
    np.testing.assert_allclose(y[0, -1], 1, atol=1e-6)
    assert np.abs(y[1, round(15 / dt):] - 1).max() > 0.05
    np.testing.assert_allclose([y[2, -1], theta[2, -1], w[2, -1] * x[2]], 1, atol=1e-3)


PHASES = """
kind = "recording"
summary = "A teacher on the apical dendrite in the second half of each period"
on = "pyramidal_escape"
duration = "300 ms"
numerics = { dt = "0.1 ms", method = "euler", target = "numpy" }
[plastic.test]
at = "basal"
rule = "guerguiev"
synapse = "current_exponential"
scale = "20 pA"
n = 6
[variables]
teacher = "0 pA"
[stimuli.teach]
type = "pulse"
at = "apical"
amplitude = "{teacher}"
start = "50 ms"
width = "50 ms"
repeat = 3
every = "100 ms"
[stimuli]
pre     = { type = "poisson", at = "test", rate = "50 Hz" }
drive   = { type = "step", at = "basal", amplitude = "60 pA" }
forward = { type = "sine", at = "apical", amplitude = "20 pA", frequency = "7 Hz" }
[conditions]
up   = { teacher = "60 pA" }
down = { teacher = "-60 pA" }
[record]
cell    = { what = ["apical", "rate"] }
weights = { what = ["w", "x_s"], of = "test" }
"""


def test_guerguievs_rule_is_the_difference_of_two_plateaus(workdir):
    """From recorded apical voltages: eta (alpha_target - alpha_forward) rate (1 - rate) psp.

    alpha = sigma(mean apical depolarisation after settling), Guerguiev et al. 2017,
    doi:10.7554/eLife.22901.  The rule moves the weight over the last 5 ms with the mean so far.
    """
    with open("phases.toml", "w", encoding="utf-8") as file:
        file.write(PHASES)
    with Writer("result.h5", {"seed": 3}) as writer:
        brian.record(resolve.protocol("./phases.toml"), writer, 3, progress=False)
    result = Result("result.h5")
    apical, rate = (result["cell"][k].values[:, :, 0] for k in ("apical", "rate"))
    w, x_s = (result["weights"][k].values for k in ("w", "x_s"))
    dt, tau_L, tau_s = 0.1, 10.0, 3.0  # ms
    arrived = np.rint(x_s[1:] - x_s[:-1] * (1 - dt / tau_s))
    x_L = np.zeros_like(x_s)
    for k in range(1, len(x_L)):
        x_L[k] = x_L[k - 1] * (1 - dt / tau_L) + arrived[k - 1]
    psp = (x_L - x_s) * tau_s / (tau_L - tau_s)

    def alpha(depolarisation):
        return 1 / (1 + np.exp(-depolarisation / 3.0))

    for period in range(3):
        first, last = 1000 * period, 1000 * (period + 1)
        forward = alpha(apical[first + 300:first + 500].mean(axis=0))
        updates, ends = [], np.arange(last - 50, last)
        for k in ends:
            target = alpha(apical[first + 800:k].mean(axis=0))
            updates.append(((target - forward) * rate[k] * (1 - rate[k]))[:, None] * psp[k])
        stop = min(last, len(w) - 1)
        found = w[stop] - w[last - 50]
        expected = 0.1 / 5 * dt * np.sum(updates[:stop - last + 50], axis=0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
        np.testing.assert_array_equal(w[first + 1:last - 49], np.broadcast_to(
            w[first + 1], w[first + 1:last - 49].shape))  # nothing moves before
        # the published update, with the means over the whole phases
        whole = alpha(apical[first + 800:last].mean(axis=0)) - forward
        drive = (rate * (1 - rate))[ends][:, :, None] * psp[ends]
        np.testing.assert_allclose(expected, 0.1 * whole[:, None] * drive.mean(axis=0), rtol=0,
                                   atol=0.05 * np.abs(expected).max())
        assert np.all(whole[0] > 0.05) and np.all(whole[1] < -0.05)
        assert np.all(found[0].max(axis=0) > 0) and np.all(found[1].min(axis=0) < 0)


def test_a_rule_may_not_define_what_its_source_has(workdir):
    with open("counting.toml", "w", encoding="utf-8") as file:
        file.write("""kind = "rule"
summary = "A state that sources of spikes have too"
reads.pre = { spikes = true }
reads.post = { V = "volt" }
synapse = "dperiod/dt = -period*rate : 1"
on_pre = "w += period"
parameters = { rate = "1 Hz" }
""")
    keys = {"plastic.test.rule": "./counting.toml"}
    protocol = resolve.protocol("clopath_clamp", keys, quick=True)
    with pytest.raises(EngineError, match="has a 'period' of its own; choose another name"), \
            Writer("result.h5", {"seed": 1}) as writer:
        brian.record(protocol, writer, 1, progress=False)
