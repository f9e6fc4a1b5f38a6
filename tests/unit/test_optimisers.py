"""Optimisers against PyTorch's published definitions, written out number by number."""

import math

import numpy as np
import pytest

from dfc_neuro.errors import InputError, ProtocolError
from dfc_neuro.optimisers._optimiser import Optimiser

OPTIONS = {
    "sgd": {}, "momentum": {"momentum": 0.8}, "rmsprop": {"rho": 0.9, "eps": 1e-6},
    "adam": {"betas": [0.9, 0.99], "eps": 1e-7},
}


def sgd(state, g, t, o):
    return o["lr"] * g


def momentum(state, g, t, o):
    state["b"] = g if t == 1 else o["momentum"] * state["b"] + g
    return o["lr"] * state["b"]


def rmsprop(state, g, t, o):
    state["v"] = o["rho"] * state.get("v", 0.0) + (1 - o["rho"]) * g * g
    return o["lr"] * g / (math.sqrt(state["v"]) + o["eps"])


def adam(state, g, t, o):
    b1, b2 = o["betas"]
    state["m"] = b1 * state.get("m", 0.0) + (1 - b1) * g
    state["v"] = b2 * state.get("v", 0.0) + (1 - b2) * g * g
    m, v = state["m"] / (1 - b1**t), state["v"] / (1 - b2**t)
    return o["lr"] * m / (math.sqrt(v) + o["eps"])


def stepped(name, parameters, gradients, options, clip, decay):
    """Parameters after all steps: clipping, then L2 decay into the gradient, then the step."""
    rule = {"sgd": sgd, "momentum": momentum, "rmsprop": rmsprop, "adam": adam}[name]
    flat = [[float(x) for x in p.ravel()] for p in parameters]
    states = [[{} for _ in p] for p in flat]
    for t, step in enumerate(gradients, 1):
        g = [[float(x) for x in part.ravel()] for part in step]
        norms = [math.sqrt(sum(x * x for x in part)) for part in g]
        if clip == "global":
            norms = [math.sqrt(sum(n * n for n in norms))] * len(norms)
        for i, part in enumerate(g):
            factor = 1.0 if clip == "none" else min(1.0, 1.3 / (norms[i] + 1e-6))
            for j, x in enumerate(part):
                total = factor * x + decay * flat[i][j]
                flat[i][j] -= rule(states[i][j], total, t, options)
    return [np.reshape(f, p.shape) for f, p in zip(flat, parameters, strict=True)]


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    shapes = [(4, 3), (2, 4), (4,), (2,)]
    parameters = [rng.normal(size=s).astype(dtype) for s in shapes]
    gradients = [[(scale * rng.normal(size=s)).astype(dtype) for s in shapes]
                 for scale in (1.0, 0.1, 3.0, 1e-4, 1.0)]
    return parameters, gradients


@pytest.mark.parametrize("decay", [0.0, 0.03])
@pytest.mark.parametrize("clip", ["none", "each", "global"])
@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_five_steps(name, clip, decay):
    own = OPTIONS[name] | {"lr": 0.05}
    parameters, gradients = problem()
    expected = stepped(name, parameters, gradients, own, clip, decay)
    optimiser = Optimiser(own | {"name": name, "clip": clip, "clip_norm": 1.3,
                                 "weight_decay": decay}, "optimisers.W")
    for step in gradients:
        ascent = [-g for g in step]
        optimiser.apply(parameters, ascent)
        for a, g in zip(ascent, step, strict=True):
            np.testing.assert_array_equal(a, -g)  # left as it was
    for found, wanted in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_single_precision_stays_single(name):
    own = OPTIONS[name] | {"lr": 0.05}
    parameters, gradients = problem(np.float32)
    expected = stepped(name, parameters, gradients, own, "each", 0.01)
    optimiser = Optimiser(own | {"name": name, "clip": "each", "clip_norm": 1.3,
                                 "weight_decay": 0.01}, "optimisers.W")
    for step in gradients:
        optimiser.apply(parameters, [-g for g in step])
    for found, wanted in zip(parameters, expected, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)
    for state in optimiser.state:
        assert all(part.dtype == np.float32 for part in state.values())


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_restored_optimiser_goes_on_to_the_same_bits(name):
    options = OPTIONS[name] | {"name": name, "lr": 0.05, "clip": "global"}
    whole, gradients = problem()
    parted, _ = problem()
    one, first = Optimiser(options, "w"), Optimiser(options, "w")
    for step in gradients:
        one.apply(whole, [-g for g in step])
    for step in gradients[:2]:
        first.apply(parted, [-g for g in step])
    second = Optimiser(options, "w")
    second.restore("optimiser/W", first.save("optimiser/W"), parted)
    for step in gradients[2:]:
        second.apply(parted, [-g for g in step])
    for a, b in zip(whole, parted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_defaults_are_pytorchs():
    import dfc_neuro.optimisers.adam as adam_module
    import dfc_neuro.optimisers.rmsprop as rmsprop_module

    assert adam_module.OPTIONS == {"betas": [0.9, 0.999], "eps": 1e-8}
    assert rmsprop_module.OPTIONS == {"rho": 0.99, "eps": 1e-8}


@pytest.mark.parametrize(("options", "named"), [
    ({"learning_rate": 0.1}, "optimisers.W.learning_rate: unknown option"),
    ({"momentun": 0.1, "name": "momentum"}, "unknown option; did you mean 'momentum'?"),
    ({"beta": [0.9, 0.9]}, "unknown option; did you mean 'betas'?"),
    ({"lr": -0.1}, "optimisers.W.lr: is -0.1; give a number that is not negative"),
    ({"lr": "fast"}, "optimisers.W.lr: is 'fast'"),
    ({"lr": None}, "optimisers.W.lr: is None"),
    ({"lr": float("nan")}, "optimisers.W.lr: is nan"),
    ({"lr": True}, "optimisers.W.lr: is True"),
    ({"clip": "all"}, "optimisers.W.clip: is 'all'; allowed are each, global, none"),
    ({"clip_norm": -1.0}, "optimisers.W.clip_norm: is -1.0"),
    ({"weight_decay": "small"}, "optimisers.W.weight_decay: is 'small'"),
    ({"eps": float("inf")}, "optimisers.W.eps: is inf"),
    ({"betas": [0.9]}, "optimisers.W.betas: is [0.9]; give two numbers"),
    ({"betas": [0.9, 1.0]}, "optimisers.W.betas: is [0.9, 1.0]"),
    ({"betas": 0.9}, "optimisers.W.betas: is 0.9"),
])
def test_options_are_checked_before_any_work(options, named):
    with pytest.raises(ProtocolError) as error:
        Optimiser({"name": "adam", "lr": 1e-3} | options, "optimisers.W")
    assert named in str(error.value)


def test_an_unknown_optimiser_has_a_near_match():
    with pytest.raises(InputError, match=r"optimisers.Q.name: unknown optimiser 'adams'; did you "
                                         "mean 'adam'"):
        Optimiser({"name": "adams", "lr": 0.1}, "optimisers.Q")
