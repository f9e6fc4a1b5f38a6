"""The spiking cell's passive part, synapses and rules on Brian2 against closed forms."""

from functools import cache

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from dfc_neuro.files import load
from dfc_neuro.run import run

pF, nS, pA, mV = 1e-12, 1e-9, 1e-12, 1e-3


def ran(protocol, seed=1, **keys):
    """The result of a protocol, in the working directory."""
    return run(protocol, out="result.h5", seed=seed, force=True, progress=False,
               keys={k.replace("__", "."): v for k, v in keys.items()})


def write(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return f"./{name}"


@cache
def passive():
    """The conductance matrix of pyramidal_escape (basal, soma, apical), in nS."""
    q = {k: v.value / nS for k, v in load("pyramidal_escape", "cell").constants.items()}
    bs, sa = q["g_basal_soma"], q["g_soma_apical"]
    return np.array([[q["g_L_basal"] + bs, -bs, 0],
                     [-bs, q["g_L_soma"] + bs + sa, -sa],
                     [0, -sa, q["g_L_apical"] + sa]])


def deflections(result, name="voltages"):
    traces = [result[name][f"V_m_{c}"].values for c in ("basal", "soma", "apical")]
    return np.stack(traces, axis=-1)[:, :, 0] / mV + 70.0


def exact(current, windows, times):
    """Deflections in mV (time, compartment) of the passive cell, from the matrix exponential."""
    A = -passive() / 100.0  # per ms, with C = 100 pF
    out = np.zeros((len(times), 3))
    for compartment, (start, stop) in zip(current, windows, strict=True):
        steady = np.linalg.solve(passive(), compartment)
        for k, t in enumerate(times):
            on, off = max(t - start, 0.0), max(t - stop, 0.0)
            out[k] += (expm(A * off) - expm(A * on)) @ steady
    return out


def test_passive_cell_follows_the_matrix_exponential(workdir):
    result = ran("escape_step", record__voltages__every="2 ms")
    times = result["voltages"]["V_m_soma"].coords["time"] * 1e3
    expected = exact([[0, 120, 0], [0, 0, 200]], [(50, 200), (260, 280)], times)
    assert expected.max() > 10
    np.testing.assert_allclose(deflections(result)[:, 0], expected, atol=1e-7)


REDUCTION = """
kind = "recording"
summary = "Inputs W r to the basal and Q u to the apical compartment"
on = "pyramidal_escape"
duration = "600 ms"
numerics = {{ method = "rk4", dt = "0.2 ms" }}
stimuli.b = {{ type = "step", at = "basal", amplitude = "{b!r} pA" }}
stimuli.a = {{ type = "step", at = "apical", amplitude = "{a!r} pA" }}
record.end = {{ what = ["V_m_basal", "V_m_soma", "V_m_apical"], every = "599.8 ms" }}
"""


def test_reduction_to_the_rate_neuron(workdir):
    """With I_b = W r/R_sb and I_a = Q u/R_sa: v_s = W r + Q u, prediction W r + (1 - gamma) Q u."""
    R = np.linalg.inv(passive())
    Wr, Qu = 3.0, -1.2  # mV
    text = REDUCTION.format(b=float(Wr / R[1, 0]), a=float(Qu / R[1, 2]))
    result = ran(write("reduction.toml", text))
    basal, soma, _ = deflections(result, "end")[-1, 0]
    constants = load("pyramidal_escape", "cell").constants
    gamma, k_basal = constants["gamma"].value, constants["k_basal"].value
    assert gamma == pytest.approx(1 - R[1, 0] ** 2 / (R[1, 1] * R[0, 0]), abs=1e-12)
    assert soma == pytest.approx(Wr + Qu, abs=1e-9)
    assert k_basal * basal == pytest.approx(Wr + (1 - gamma) * Qu, abs=1e-9)


def test_weight_change_under_voltage_clamp(workdir):
    """A spike changes w by [u - th-] (A_LTP [u - th+] - A_LTD); zero at -43.55 mV."""
    u = np.array([-80, -70, -50, -45.3, -43.55, -40, -20])
    result = ran("clopath_clamp", numerics__method="rk4", duration="1100 ms",
                 over__voltage=[f"{v} mV" for v in u])
    w = result["test"]["w"].values[:, :, 0]
    each = np.maximum(u + 70.6, 0) * (8e-5 * np.maximum(u + 45.3, 0) - 14e-5)
    np.testing.assert_allclose(w[1] - w[0], 25 * each, atol=1e-9)
    assert abs(w[1, 4] - w[0, 4]) < 1e-9
    assert np.argmin(w[1]) == 3  # most negative at theta_plus
    np.testing.assert_array_equal(result.weights["test"].values[:, 0], w[1])


def test_states_of_a_rule_are_recorded_wherever_they_live(workdir):
    """The trace x jumps by 1/tau_x and decays; u_minus rests at the clamped voltage."""
    result = ran("clopath_clamp", numerics__method="rk4", over__voltage=["-60 mV"],
                 record__weight__what=["w", "x"], record__weight__every="0.1 ms",
                 stimuli__pre__train__n=1, duration="400 ms")
    x, time = result["weight"]["x"].values[:, 0, 0], result["weight"]["x"].coords["time"]
    after = time > 0.3
    expected = np.exp(-(time[after] - 0.3001) / 0.015) / 0.015
    np.testing.assert_allclose(x[after], expected, rtol=1e-6)
    assert not x[~after].any()
    slow = ran("clopath_clamp", over__voltage=["-60 mV"], duration="5 ms", measure={},
               record__weight__what=["u_minus"], record__weight__every="1 ms")
    np.testing.assert_allclose(slow["weight"]["u_minus"].values, -0.06, atol=1e-15)


def test_bounds_stop_a_weight(workdir):
    result = ran("clopath_clamp", over__voltage=["0 mV"], record__weight__every="50 ms")
    assert result["weight"]["w"].values.max() == 3.0


CONDUCTANCE = """
kind = "recording"
summary = "Two inhibitory spikes on a depolarised soma"
on = "pyramidal_escape"
duration = "60 ms"
numerics = {{ method = "rk4", dt = "{dt} ms" }}
plastic.syn = {{ at = "soma", synapse = "{synapse}", rule = "still", w = 1.5, scale = "2 nS" }}
stimuli.step = {{ type = "step", at = "soma", amplitude = "100 pA" }}
stimuli.pre = {{ type = "spikes", at = "syn", times = ["{first} ms", "{second} ms"] }}
record.voltages = {{ what = ["V_m_basal", "V_m_soma", "V_m_apical"], every = "1 ms" }}
"""
STILL = """
kind = "rule"
summary = "Nothing changes"
reads.pre = { spikes = true }
on_pre = "w += 0*w"
"""


def two_spikes(synapse, dt):
    """A protocol; a spike of a step acts at its end, so these act at 10 and 20 ms."""
    write("still.toml", STILL)
    text = CONDUCTANCE.format(synapse=synapse, dt=dt, first=10 - dt, second=20 - dt)
    return write("p.toml", text.replace('"still"', '"still.toml"'))


def conductance(times):
    """The same in scipy: conductance 3 nS a spike, 10 ms, reversal -80 mV; mV."""
    def slope(t, y):
        v, g = y[:3], y[3]
        current = np.array([0, 100 + g * (-10 - v[1]), 0])
        return [*((current - passive() @ v) / 100.0), -g / 10]

    y, traces = np.zeros(4), []
    for start, stop in ((0, 10), (10, 20), (20, 60)):
        here = times[(times >= start) & (times < stop)]
        path = solve_ivp(slope, (start, stop), y, t_eval=[*here, stop], rtol=1e-11, atol=1e-12)
        traces.append(path.y[:3, :-1].T)
        y = path.y[:, -1] + [0, 0, 0, 3.0]
    return np.concatenate(traces)


def test_conductance_synapse(workdir):
    result = ran(two_spikes("gaba_a", 0.05))
    times = result["voltages"]["V_m_soma"].coords["time"] * 1e3
    expected = conductance(times)
    alone = exact([[0, 100, 0]], [(0, 1e9)], times)
    assert (alone - expected)[:, 1].max() > 0.3
    np.testing.assert_allclose(deflections(result)[:, 0], expected, atol=1e-6)


def test_a_synapse_that_is_not_linear_lives_with_each_synapse(workdir):
    """The same conductance, written so that superposition cannot be seen: first order in dt."""
    write("curved.toml", """
kind = "synapse"
summary = "Exponential conductance, its log as the state"
equations = "dh/dt = -1/tau : 1"
on_pre = "h = log(exp(h) + w)"
current = "exp(h)*scale*(E_rev - V)"
initial = { h = "-700" }
parameters = { tau = "10 ms", E_rev = "-80 mV" }
""")
    errors = []
    for dt in (0.05, 0.025):
        result = ran(two_spikes("curved.toml", dt))
        times = result["voltages"]["V_m_soma"].coords["time"] * 1e3
        errors.append(np.abs(deflections(result)[:, 0] - conductance(times)).max())
    assert errors[0] < 1e-2
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.3)


PAIR = """
kind = "rule"
summary = "Pair-based STDP, all to all"
reads.pre = { spikes = true }
reads.post = { spikes = true }
pre = "da/dt = -a/tau : 1"
post = "db/dt = -b/tau : 1"
on_pre = ["w -= A_minus*b_post", "a_pre += 1"]
on_post = ["w += A_plus*a_pre", "b_post += 1"]
parameters = { tau = "20 ms", A_plus = 0.01, A_minus = 0.012 }
"""
CLOCKWORK = """
kind = "cell"
summary = "Spikes whenever its voltage is above zero"
equations = "dV/dt = (I_in - V)/tau_m : 1"
spike = { when = "V > 0.5", reset = "V = 0" }
refractory = "5 ms"
compartments = { soma = { voltage = "V_m", input = "I_in" } }
parameters = { tau_m = "0.1 ms" }
""".replace("dV/dt", "dV_m/dt").replace("- V)", "- V_m)").replace("V > 0.5", "V_m > 0.5").replace(
    "reset = \"V = 0\"", "reset = \"V_m = 0\"")


def test_pair_rule_from_events(workdir):
    """w changes by A_plus e^(-lag/tau) after pre-post, by -A_minus e^(-lag/tau) after post-pre."""
    write("pair.toml", PAIR)
    write("clockwork.toml", CLOCKWORK)
    protocol = write("p.toml", """
kind = "recording"
summary = "One pair of spikes"
on = "clockwork.toml"
duration = "100 ms"
numerics = { method = "rk4", dt = "0.1 ms" }
plastic.test = { at = "soma", rule = "pair.toml", w = 0.5 }
stimuli.pre = { type = "spikes", at = "test", times = ["{pre}"] }
stimuli.post = { type = "step", at = "soma", amplitude = 2, from = "50 ms", to = "50.3 ms" }
over.pre = ["30 ms", "45 ms", "60 ms", "75 ms"]
record.fired = { what = "spikes" }
""")
    result = ran(protocol)
    post = result.spikes["fired"]["time"].values * 1e3
    assert len(post) == 4
    lag = post - np.array([30, 45, 60, 75])
    expected = np.where(lag > 0, 0.01, -0.012) * np.exp(-np.abs(lag) / 20)
    w = result["test"]["w"].values[:, :, 0]
    np.testing.assert_allclose(w[1] - w[0], expected, atol=1e-12)


def test_a_users_cell_with_one_term_changed(workdir):
    """Half of the leak of the soma: the steady state is that of the other matrix."""
    cell = load("pyramidal_escape", "cell")
    text = cell.path.read_text(encoding="utf-8")
    edited = text.replace("(g_L_soma*(E_L - V_m_soma)", "(0.5*g_L_soma*(E_L - V_m_soma)")
    assert edited != text
    protocol = REDUCTION.format(b=20.0, a=10.0).replace("pyramidal_escape",
                                                        write("mine.toml", edited))
    basal_soma_apical = deflections(ran(write("p.toml", protocol)), "end")[-1, 0]
    G = passive().copy()
    G[1, 1] -= 2.5
    np.testing.assert_allclose(basal_soma_apical, np.linalg.solve(G, [20, 0, 10]), atol=1e-8)


def test_equations_for_ones_own_group():
    import brian2 as b2

    from dfc_neuro.brian import device

    equations, parameters = load("pyramidal_escape", "cell").brian2()
    group = b2.NeuronGroup(2, equations, method="rk4", dt=0.2 * b2.ms, namespace={})
    group.set_states(parameters)
    for name in ("basal", "soma", "apical"):
        setattr(group, f"V_m_{name}", parameters["E_L"])
    group.electrode_soma = [0, 50] * b2.pA
    network = b2.Network(group)
    with device.code("numpy"):
        network.run(600 * b2.ms)
    found = [getattr(group, f"V_m_{name}")[1] / b2.mV + 70 for name in ("basal", "soma", "apical")]
    np.testing.assert_allclose(found, np.linalg.solve(passive(), [0, 50, 0]), atol=1e-8)
    assert group.V_m_soma[0] == parameters["E_L"]
    assert float(parameters["gamma"]) == pytest.approx(0.948, abs=5e-4)
