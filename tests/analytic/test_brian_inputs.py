"""Synapses, short-term plasticity and noise against their closed forms."""

import numpy as np
import pytest

from dfc_neuro.brian.waveforms import OrnsteinUhlenbeck
from dfc_neuro.errors import ModelError, ProtocolError
from dfc_neuro.files.load import load
from dfc_neuro.run import run

FOLLOWER = """
kind = "cell"
summary = "A leak, and what flows in as an observable"
equations = "dx/dt = (I_in - x)/tau_m : 1"
compartments = { soma = { voltage = "x", input = "I_in" } }
observables = { flow = "I_in : 1" }
parameters = { tau_m = "6 ms" }
"""
PATCH = """
kind = "cell"
summary = "A membrane to clamp"
equations = "dV_m/dt = (g_L*(E_L - V_m) + I_in)/C_m : volt"
compartments = { soma = { voltage = "V_m", input = "I_in" } }
observables = { flow = "I_in : amp" }
initial = { V_m = "E_L" }
parameters = { g_L = "10 nS", C_m = "100 pF", E_L = "-70 mV" }
"""


def write(**files):
    for name, text in files.items():
        with open(f"{name}.toml", "w", encoding="utf-8") as file:
            file.write(text)


def ran(protocol, seed=1, **files):
    write(p=protocol, **files)
    return run("./p.toml", out="result.h5", seed=seed, force=True, progress=False)


def test_ornstein_uhlenbeck_keeps_its_variance_and_forgets_exponentially():
    """Sample moments of 4000 units within four standard errors, for a step as long as tau too."""
    for dt in (0.1e-3, 2e-3):
        array, n = np.zeros(4000), 4000
        ones = np.ones(n)
        noise = OrnsteinUhlenbeck(array, 3 * ones, 5 * ones, 0 * ones, 1e3 * ones,
                                  np.random.default_rng(4), dt, 2e-3 * ones)
        x = np.empty((60, n))
        for step in range(60):
            noise(step)
            x[step] = array
        assert x.mean() == pytest.approx(3, abs=4 * 5 / np.sqrt(n))
        for step in (0, 59):
            assert x[step].var() == pytest.approx(25, rel=4 * np.sqrt(2 / n))
        for lag in (1, 10, 20):
            found = np.corrcoef(x[5], x[5 + lag])[0, 1]
            rho = np.exp(-lag * dt / 2e-3)
            assert found == pytest.approx(rho, abs=4 * (1 - rho**2) / np.sqrt(n) + 1e-12)


def test_a_leak_filters_ornstein_uhlenbeck_noise(workdir):
    """Var x = sigma^2 tau/(tau + tau_m); a seed gives the same noise, another one other noise."""
    protocol = """
kind = "recording"
summary = "Noise into leaks"
on = "many.toml"
duration = "60 ms"
numerics = { method = "rk4", dt = "0.2 ms" }
stimuli.noise = { type = "ou", at = "cells.soma", sigma = 2, tau = "3 ms", mean = 1 }
record.x = { what = ["x", "flow"], every = "20 ms" }
"""
    many = """
kind = "circuit"
summary = "Independent leaks"
populations.cells = { n = 4000, cell = "follower.toml" }
"""
    result = ran(protocol, follower=FOLLOWER, many=many)
    x, flow = (result["x"][k].values[-1, 0] for k in ("x", "flow"))
    assert x.mean() == pytest.approx(1 - np.exp(-40 / 6), abs=0.08)
    assert x.var() == pytest.approx(4 * 3 / (3 + 6), rel=0.09)
    assert flow.var() == pytest.approx(4, rel=0.09)
    again = ran(protocol, follower=FOLLOWER, many=many)["x"]["x"].values
    np.testing.assert_array_equal(again[-1, 0], x)
    other = ran(protocol, 2, follower=FOLLOWER, many=many)["x"]["x"].values
    assert np.abs(np.corrcoef(other[-1, 0], x)[0, 1]) < 0.07


@pytest.mark.parametrize("key, value, message", [
    ("tau", '"0 ms"', "is not positive"),
    ("sigma", '"2 pA"', "1 is needed here"),
    ("tau", "3", "second is needed"),
])
def test_bad_noise_is_refused(workdir, key, value, message):
    keys = {"sigma": "2", "tau": '"3 ms"'} | {key: value}
    protocol = f"""
kind = "recording"
summary = "Noise"
on = "follower.toml"
duration = "1 ms"
numerics = {{ dt = "0.2 ms" }}
stimuli.noise = {{ type = "ou", at = "soma", sigma = {keys["sigma"]}, tau = {keys["tau"]} }}
"""
    with pytest.raises(ProtocolError, match=rf"p\.toml: stimuli\.noise\.{key}.*{message}"):
        ran(protocol, follower=FOLLOWER)


TRAIN = """
kind = "circuit"
summary = "A train of spikes over a synapse that adds up what is released"
populations.input = { n = 1, source = "spikes" }
populations.cells = { n = 1, cell = "follower.toml" }
[projections]
S = { from = "input.spikes", to = "cells.soma", synapse = "sum.toml", release = "RELEASE", w = 1.5, delay = "1 ms" }
"""  # noqa: E501
SUM = """
kind = "synapse"
summary = "Adds up what is released"
equations = "dg/dt = 0*g/second : 1"
on_pre = "g += w*scale"
current = "g"
"""


@pytest.mark.parametrize("name", ["depressing", "facilitating"])
def test_short_term_plasticity(workdir, name):
    """Each spike of a train by recursion, the last one at the steady state in closed form."""
    result = ran("""
kind = "recording"
summary = "40 Hz"
on = "train.toml"
duration = "3 s"
numerics = { method = "euler", dt = "0.5 ms" }
stimuli.train = { type = "spikes", at = "input", train = { n = 100, rate = "40 Hz" } }
record.x = { what = "flow", every = "12.5 ms" }
""", train=TRAIN.replace("RELEASE", name), sum=SUM, follower=FOLLOWER)
    total = result["x"]["flow"].values[1::2, 0, 0]  # in the middle between two spikes
    released = np.diff(total, prepend=0)[:100]
    c = {k: q.value for k, q in load(name, "synapse").constants.items()}
    u_kept, R_kept = np.exp(-25e-3 / c["tau_f"]), np.exp(-25e-3 / c["tau_d"])
    u, R, expected = c["U"], 1.0, []
    for _ in range(100):
        u += c["f"] * (1 - u)
        expected.append(1.5 * u * R)
        u, R = c["U"] + (u - c["U"]) * u_kept, 1 + (R * (1 - u) - 1) * R_kept
    np.testing.assert_allclose(released, expected, rtol=1e-9)
    u = (c["f"] + (1 - c["f"]) * c["U"] * (1 - u_kept)) / (1 - (1 - c["f"]) * u_kept)
    R = (1 - R_kept) / (1 - (1 - u) * R_kept)
    assert released[-1] == pytest.approx(1.5 * u * R, rel=1e-6)
    assert (released[-1] > released[0]) == (name == "facilitating")


def test_nmda_is_blocked_by_magnesium(workdir):
    """Under clamp: g(t) (E - V)/(1 + exp(-0.062 V/mV)/3.57), g a difference of exponentials."""
    result = ran("""
kind = "recording"
summary = "One spike under voltage clamp"
on = "cells.toml"
duration = "60 ms"
numerics = { method = "rk4", dt = "0.1 ms" }
stimuli.clamp = { type = "clamp", at = "cell.soma", voltage = "{voltage}" }
stimuli.spike = { type = "spikes", at = "input", times = ["4.9 ms"] }
over.voltage = ["-80 mV", "-60 mV", "-40 mV", "-20 mV", "20 mV", "40 mV"]
record.current = { what = "flow", of = "cell" }
""", cells="""
kind = "circuit"
summary = "One NMDA synapse"
populations.input = { n = 1, source = "spikes" }
populations.cell = { n = 1, cell = "patch.toml" }
[projections.S]
from = "input.spikes"
to = "cell.soma"
synapse = "nmda"
w = 2
scale = "1.5 nS"
""", patch=PATCH)
    flow = result["current"]["flow"]
    t, found = flow.coords["time"] * 1e3, flow.values[:, :, 0] * 1e12
    V = np.array([-80, -60, -40, -20, 20, 40.0])
    since = np.maximum(t - 5, 0)[:, None]  # a spike acts at the end of its step
    shape = np.exp(-since / 100) - np.exp(-since / 2)
    shape /= (np.exp(-(x := 2 * 100 * np.log(50) / 98) / 100) - np.exp(-x / 2))
    expected = 3 * shape * (0 - V) / (1 + np.exp(-0.062 * V) / 3.57)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    open_share = found[-1] / (3 * shape[-1] * (0 - V))
    np.testing.assert_allclose(open_share, [.0244, .0797, .2301, .5082, .9250, .9771], atol=1e-4)
    peak = np.abs(found[:, 0]).max() / (80 * open_share[0])
    assert peak == pytest.approx(3, rel=1e-4)  # w times scale, in nS


def test_a_release_is_no_synapse_and_needs_one(workdir):
    write(follower=FOLLOWER, sum=SUM, circuit=TRAIN.replace("RELEASE", "gaba_a"))
    with pytest.raises(ModelError, match=r"projections\.S\.release: 'gaba_a' has no release; "
                                         "shipped ones that do: depressing, facilitating"):
        load("./circuit.toml", "circuit")
    write(circuit=TRAIN.replace("sum.toml", "depressing").replace("RELEASE", "depressing"))
    with pytest.raises(ModelError, match=r"projections\.S\.synapse: 'depressing' has no current"):
        load("./circuit.toml", "circuit")
    write(both=SUM + 'release = "0.5"\n')
    with pytest.raises(ModelError, match="either 'current' or 'release'"):
        load("./both.toml", "synapse")
    write(far=SUM.replace('current = "g"', 'release = "g*second"'))
    with pytest.raises(ModelError, match=r"far\.toml: release: .*second, 1 is needed"):
        load("./far.toml", "synapse")


def test_conductance_clamp(workdir):
    """A conductance g with reversal E: V goes to (g_L E_L + g E)/(g_L + g), with that membrane's
    time constant C/(g_L + g); in the next window back to rest.
    """
    result = ran("""
kind = "recording"
summary = "A step of conductance"
on = "patch.toml"
duration = "100 ms"
numerics = { method = "rk4", dt = "0.1 ms" }
[stimuli.g]
type = "step"
at = "soma"
amplitude = "{g}"
reversal = "-10 mV"
from = "10 ms"
to = "80 ms"
[over]
g = ["5 nS", "30 nS"]
[record]
v = { what = "V_m" }
""", patch=PATCH)
    trace = result["v"]["V_m"]
    V, t = trace.values[:, :, 0] * 1e3, trace.coords["time"] * 1e3
    for k, g in enumerate((5, 30)):
        steady = (10 * -70 + g * -10) / (10 + g)
        on, off = (t >= 10) & (t < 80), t >= 80
        expected = steady + (-70 - steady) * np.exp(-(t[on] - 10) * (10 + g) / 100)
        np.testing.assert_allclose(V[on, k], expected, atol=1e-6)
        np.testing.assert_allclose(
            V[off, k], -70 + (expected[-1] + 70 + (steady - expected[-1]) * (
                1 - np.exp(-0.1 * (10 + g) / 100))) * np.exp(-(t[off] - 80) / 10), atol=1e-6)


def test_a_frozen_pattern_of_spikes_comes_again(workdir):
    """Poisson spikes that are drawn once and repeated: the same ones, 80 ms later."""
    result = ran("""
kind = "recording"
summary = "A pattern of 60 ms, three times"
on = "cells.toml"
duration = "260 ms"
numerics = { method = "euler", dt = "0.5 ms" }
[stimuli.pattern]
type = "poisson"
at = "input"
rate = "100 Hz"
from = "10 ms"
to = "70 ms"
repeat = 3
every = "80 ms"
[record]
fired = { what = "spikes", of = "input" }
""", cells="""
kind = "circuit"
summary = "Inputs"
populations.input = { n = 20, source = "spikes" }
populations.cell = { n = 1, cell = "follower.toml" }
""", follower=FOLLOWER)
    spikes = result.spikes["fired"]
    time, unit = spikes["time"].values * 1e3, spikes["unit"].values
    shown = [np.sort(time[(time >= 10 + 80 * k) & (time < 75 + 80 * k)] - 80 * k + 1000 * unit[
        (time >= 10 + 80 * k) & (time < 75 + 80 * k)]) for k in range(3)]
    assert sum(map(len, shown)) == len(time)
    assert len(shown[0]) == pytest.approx(20 * 0.06 * 100, abs=4 * np.sqrt(120))
    for again in shown[1:]:
        np.testing.assert_allclose(again, shown[0], atol=1e-6)
