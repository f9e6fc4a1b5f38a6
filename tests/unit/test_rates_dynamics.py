"""The rate engine against the published recursion, written out in NumPy in voltages."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dfc_neuro.errors import NumericalError
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.network import Network, backprop, forward, jacobian, slopes
from dfc_neuro.rates.simulate import simulate

FORWARD = ("dfc_forward", "dfc_forward_voltage", "dfc_forward_derivative")
PLAIN = Control(alpha=0.01, k_p=2.0, dt=0.02, steps=40, tau=0.2)
cases = st.fixed_dictionaries({
    "sizes": st.lists(st.integers(1, 9), min_size=2, max_size=4),
    "hidden": st.sampled_from(["tanh", "linear", "relu", "leaky_relu", "sigmoid"]),
    "output": st.sampled_from(["linear", "tanh"]),
    "batch": st.integers(1, 70),
    "nudge": st.sampled_from([1e-3, 0.1, 1.0]),
    "seed": st.integers(0, 2**31),
    "control": st.builds(
        Control, alpha=st.sampled_from([0.0, 1e-3, 0.5]), k_p=st.sampled_from([0.0, 0.15, 2.0]),
        dt=st.sampled_from([0.002, 0.02, 0.05]), steps=st.integers(2, 30),
        tau=st.sampled_from([0.01, 0.2, 1.0]), tau_A=st.sampled_from([0.0, 0.05, 0.3]),
        transmission=st.sampled_from(["instant", "delayed"]), proactive=st.booleans(),
        instant_system=st.booleans(), sigma=st.just(0.05), sigma_output=st.sampled_from([0, 0.1])),
    "noisy": st.booleans(),
})
FIXED = {"sizes": [6, 8, 7, 4], "hidden": "tanh", "output": "tanh", "batch": 70, "nudge": 0.5,
         "seed": 1, "noisy": True}
SEVERAL_BLOCKS = [
    FIXED | {"control": replace(PLAIN, tau_A=0.1, sigma=0.05, **options)} for options in (
        {"transmission": "instant", "proactive": True, "k_p": 2.0},
        {"transmission": "delayed", "proactive": False, "k_p": 0.0},
        {"transmission": "delayed", "instant_system": True, "k_p": 0.5})]


def made(case, network):
    """Network, minibatch, target displacement and noise of a case."""
    sizes, c, B = case["sizes"], case["control"], case["batch"]
    names = [case["hidden"]] * (len(sizes) - 2) + [case["output"]]
    net = network(sizes, names, case["seed"])
    rng = np.random.default_rng(case["seed"] + 1)
    x, delta = rng.normal(size=(B, sizes[0])), case["nudge"] * rng.normal(size=(B, sizes[-1]))
    noise = [rng.normal(size=(c.steps - 1, B, n)) for n in sizes[1:]] if case["noisy"] else None
    return net, x, delta, noise


def close(found, expected, scale=None, slack=0.0):
    size = np.abs(expected).max() if scale is None else scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(size, 1.0) + slack)


@settings(max_examples=40)
@given(cases)
@example(SEVERAL_BLOCKS[0])
@example(SEVERAL_BLOCKS[1])
@example(SEVERAL_BLOCKS[2])
def test_every_state_of_every_option(transcription, network, case):
    c = case["control"]
    net, x, delta, noise = made(case, network)
    expected = transcription.run(net, c, x, delta, noise)
    quiet = c if case["noisy"] else replace(c, sigma=0.0, sigma_output=0.0)
    end = simulate(net, quiet, forward(net, x), delta, noise=noise, record_every=1, bound=0)
    path = end.trajectory
    # an unstable loop makes rounding grow: by how much, the recursion itself shows
    moved = transcription.run(net, c, x, delta + 1e-15, noise)
    slack = 10 * max(np.abs(a - b).max() for a, b in zip(
        (moved.u, *moved.v), (expected.u, *expected.v), strict=True))
    close(path.u, expected.u, slack=slack)
    for i in range(net.depth):
        scale = max(np.abs(expected.v[i]).max(), np.abs(expected.v_A[i]).max(), slack * 1e12)
        close(path.v_soma[i], expected.v[i], scale)
        close(path.v_basal[i], expected.v_B[i], scale)
        close(path.v_apical[i], expected.v_A[i], scale)
        close(path.r[i], expected.r[i], scale)
        close(end.x[i], expected.v[i][-1] - expected.v[i][0], scale)
        close(end.basal[i], expected.v_B[i][-1] - expected.v_B[i][0], scale)
        close(end.apical[i], expected.v_A[i][-1], scale)
    close(end.u, expected.u[-1], slack=slack)


@pytest.mark.parametrize("rule", [*FORWARD, "dfc_feedback"])
@settings(max_examples=12)
@given(case=cases)
@example(case=SEVERAL_BLOCKS[0])
@example(case=SEVERAL_BLOCKS[1])
def test_time_averages(transcription, network, shipped_rule, rule, case):
    c = case["control"]
    net, x, delta, noise = made(case | {"noisy": True}, network)
    dW, db = transcription.averaged(net, c, transcription.run(net, c, x, delta, noise), rule)
    scale = max(c.sigma, 0.01) if rule == "dfc_feedback" else None
    end = simulate(net, c, forward(net, x), delta, noise=noise, bound=0,
                   rule=shipped_rule(rule, scale))
    for i in range(net.depth):
        close(end.dW[i], dW[i], 1 + max(map(np.abs, (dW[i].max(), dW[i].min()))))
        if db is not None:
            close(end.db[i], db[i])


@pytest.mark.parametrize("steps", [2, 7, 8, 9, 16, 17])
def test_chunks_of_time_lose_no_state(transcription, network, shipped_rule, steps):
    """Products of eight states are summed at once: any number of states gives the mean of all."""
    c = replace(PLAIN, steps=steps, transmission="delayed")
    net, x, delta, _ = made(FIXED | {"control": c, "noisy": False}, network)
    path = transcription.run(net, c, x, delta)
    for rule in ("dfc_forward", "dfc_feedback"):
        end = simulate(net, c, forward(net, x), delta, rule=shipped_rule(rule, 0.01))
        dW, _ = transcription.averaged(net, c, path, rule)
        for found, expected in zip(end.dW, dW, strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(dW[0]).max())


@pytest.mark.parametrize("every", [3, 7, 39, 100])
def test_thinned_record_holds_those_states(transcription, network, every):
    net, x, delta, _ = made(FIXED | {"control": PLAIN, "noisy": False}, network)
    expected = transcription.run(net, PLAIN, x, delta)
    path = simulate(net, PLAIN, forward(net, x), delta, record_every=every).trajectory
    np.testing.assert_array_equal(path.time_step, np.arange(0, PLAIN.steps, every))
    close(path.u, expected.u[::every])
    for i in range(net.depth):
        close(path.v_soma[i], expected.v[i][::every])
        close(path.r[i], expected.r[i][::every])


def test_float32_keeps_the_digits_that_plain_float32_loses(transcription, network, shipped_rule):
    """At the nudge published for MNIST, .078/128, of errors as a trained network has them."""
    net = network([20, 40, 40, 10], ["tanh", "tanh", "linear"], 3)
    rng = np.random.default_rng(4)
    x, delta = 2 * rng.normal(size=(32, 20)), 6e-4 * rng.uniform(-0.1, 0.1, (32, 10))
    c = Control(alpha=1e-3, k_p=2.0, dt=0.02, steps=500, tau=0.2, proactive=True)

    def update(dtype):
        part = net.astype(dtype)
        end = simulate(part, c, forward(part, x.astype(dtype)), delta.astype(dtype),
                       rule=shipped_rule("dfc_forward"))
        assert all(a.dtype == dtype for a in (*end.dW, *end.db, *end.x))
        return end.update.flat().astype(np.float64)

    def plain(dtype):
        path = transcription.run(net, c, x, delta, dtype=dtype)
        dW, db = transcription.averaged(net, c, path, "dfc_forward")
        return np.concatenate([a.ravel() for a in dW + db])

    exact = plain(np.float64)
    size = np.linalg.norm(exact)
    assert np.linalg.norm(update(np.float64) - exact) < 1e-10 * size
    assert np.linalg.norm(update(np.float32) - exact) < 1e-5 * size
    assert np.linalg.norm(plain(np.float32) - exact) > 5e-3 * size


def test_a_voltage_past_its_bound_stops_with_layer_and_time():
    """One unit, u' = e, v = -u: the error grows as exp(t), so |u| = delta (exp(t) - 1)."""
    net = Network([np.eye(1)], [np.zeros(1)], [-np.eye(1)], ("linear",))
    c = Control(alpha=0.0, k_p=0.0, dt=1e-3, steps=4000, tau=0.2, instant_system=True,
                proactive=True)
    with pytest.raises(NumericalError, match=r"layer 1 passed 10 .*at time (\S+) tau_u") as error:
        simulate(net, c, forward(net, np.zeros((1, 1))), np.full((1, 1), 0.5), bound=10.0)
    time = float(str(error.value).partition("at time ")[2].split()[0])
    assert np.log(1 + 10 / 0.5) <= time + 2e-3 <= np.log(1 + 10 / 0.5) + 0.02
    end = simulate(net, c, forward(net, np.zeros((1, 1))), np.full((1, 1), 0.5), bound=0)
    np.testing.assert_allclose(end.x[0][0, 0], -0.5 * (1.001**3999 - 1), rtol=1e-10)


@pytest.mark.parametrize("name", ["linear", "tanh", "relu", "leaky_relu", "sigmoid"])
def test_feedforward_slopes_jacobian_and_backprop_by_differences(transcription, network, name):
    net = network([4, 6, 5, 3], [name, name, "tanh"], 5)
    x, h = np.random.default_rng(6).normal(size=(7, 4)), 1e-6
    fwd = forward(net, x)
    below = x
    for i in range(3):
        phi, slope = transcription.phi[net.nonlinearities[i]]
        close(fwd.v[i], below @ net.W[i].T + net.b[i])
        close(fwd.r[i], phi(fwd.v[i]))
        close(slopes(net, fwd)[i], slope(fwd.v[i]))
        below = fwd.r[i]

    def output(layer, shift):  # the output when one layer's voltage is displaced
        r = x
        for i in range(3):
            r = transcription.phi[net.nonlinearities[i]][0](
                r @ net.W[i].T + net.b[i] + (shift if i == layer else 0))
        return r

    J = jacobian(net, fwd)
    for i in range(3):
        for j in range(net.sizes[i + 1]):
            e = np.zeros(net.sizes[i + 1])
            e[j] = h
            numeric = (output(i, e) - output(i, -e)) / (2 * h)
            np.testing.assert_allclose(J[i][:, :, j], numeric, atol=2e-9)
    delta = np.random.default_rng(7).normal(size=(7, 3))
    expected = [np.einsum("bk,bki,bj->ij", delta, J[i], r) for i, r in enumerate(fwd.presynaptic)]
    for found, wanted in zip(backprop(net, fwd, delta).dW, expected, strict=True):
        close(found, wanted)
