"""Rules as text: the same update however it is written, and refusals that name file and engine."""

from dataclasses import replace

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc_neuro.errors import EngineError, InputError
from dfc_neuro.methods import dfc_ssa
from dfc_neuro.methods._step import Minibatch
from dfc_neuro.rates.compile import compile_rule
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.layered import layered
from dfc_neuro.rates.network import forward
from dfc_neuro.rates.rule_text import separate
from dfc_neuro.rates.rules import apply_rule
from dfc_neuro.rates.simulate import simulate

POST = ("rate_post", "prediction_post", "v_soma_post", "v_basal_post", "apical_post")
ETA = {"eta": 2.0}


@pytest.fixture(scope="module")
def state(network):
    """A network with a minibatch and deviations of all three compartments."""
    net = network([4, 6, 3], ["tanh", "linear"], 1)
    rng = np.random.default_rng(2)
    fwd = forward(net, rng.normal(size=(5, 4)))
    parts = [[0.3 * rng.normal(size=(5, n)) for n in (6, 3)] for _ in range(3)]
    return net, fwd, *parts


def numbers(state, layer):
    """What a rule may read of one layer: (B, n_i, 1) and (B, 1, n_{i-1})."""
    _, fwd, x, basal, apical = state
    phi = (np.tanh, lambda v: v)[layer]
    below = fwd.x if layer == 0 else np.tanh(fwd.v[0] + x[0])
    soma, dendrite = fwd.v[layer] + x[layer], fwd.v[layer] + basal[layer]
    post = {"v_soma_post": soma, "v_basal_post": dendrite, "rate_post": phi(soma),
            "prediction_post": phi(dendrite), "apical_post": apical[layer]}
    return {name: a[:, :, None] for name, a in post.items()} | {"rate_pre": below[:, None, :]}


def eta_times(read, sign=1.0):
    return sign * 2.0 * (read["rate_post"] - read["prediction_post"]) * read["rate_pre"]


@pytest.mark.parametrize("text", [
    "eta*(rate_post - prediction_post)*rate_pre",
    "eta*rate_post*rate_pre - eta*prediction_post*rate_pre",
    "-(prediction_post - rate_post)*eta*rate_pre",
    "eta*mismatch_post*rate_pre",
    "rate_pre*(eta*rate_post - prediction_post*eta)",
    "-(eta*prediction_post*rate_pre) + rate_pre*rate_post*eta",
    "(rate_post*rate_pre - prediction_post*rate_pre)/(1/eta)",
    "rate_post*rate_pre/(1/eta) - rate_pre*prediction_post/(1/eta)",
])
def test_spellings_of_one_rule(state, text):
    rule = compile_rule(f"dw/dt = {text} : 1", f"db/dt = {text.replace('rate_pre', '1')} : 1", ETA)
    assert len(rule.separated.products) == 1 and not rule.separated.rows
    assert "mismatch_post" in rule.separated.post[0]  # one number: no digits lost in float32
    assert "rate_post" not in rule.separated.post[0]
    found = apply_rule(rule, *state)
    for i in range(2):
        expected = eta_times(numbers(state, i)).mean(axis=0)
        np.testing.assert_allclose(found.dW[i], expected, rtol=0, atol=1e-12)
        read = numbers(state, i) | {"rate_pre": 1.0}
        np.testing.assert_allclose(found.db[i], eta_times(read).mean(axis=0)[:, 0], atol=1e-12)


@pytest.mark.parametrize(("text", "factors", "products", "rows"), [
    ("eta*(rate_post + apical_post)*(rate_pre + rate_pre**2)", (1, 1, 1), 1, 0),  # none to expand
    ("eta*(rate_post + apical_post)*rate_pre + eta*v_soma_post*rate_pre", (1, 1, 1), 1, 0),
    ("rate_post*rate_pre - eta*rate_post**2", (2, 1, 1), 1, 1),  # a decay: sums of one side
    ("(rate_post + rate_pre)*(apical_post + rate_pre)", (3, 2, 1), 2, 1),
    ("rate_post*rate_pre + 3*rate_post*tanh(rate_pre)", (1, 1, 1), 1, 0),  # the shared side: once
    ("rate_post*rate_pre + apical_post*rate_pre + (apical_post + rate_post)*rate_pre**2",
     (1, 1, 1), 1, 0),
    ("-rate_pre", (1, 1, 1), 1, 0),
    ("tanh(rate_post*apical_post)/(1 + rate_pre**2)", (1, 1, 1), 1, 0),
    ("eta*(rate_post*rate_pre - rate_post**2*w)", (2, 1, 2), 1, 1),  # Oja
    ("rate_post*rate_pre - eta*w", (2, 1, 2), 1, 1),
    ("eta*rate_post*rate_pre - w*rate_post*rate_pre", (1, 1, 2), 1, 0),  # a soft bound
])
def test_only_products_of_both_sides_are_expanded(text, factors, products, rows):
    found = separate(f"dw/dt = {text} : 1", None, "my.toml")
    assert (len(found.post), len(found.pre), len(found.weight)) == factors
    assert (len(found.products), len(found.rows)) == (products, rows)
    assert found.bias == -1 and not found.feedback and not found.synapse


@pytest.mark.parametrize("text", [
    "tanh(rate_post*rate_pre)", "rate_post/(1 + rate_post*rate_pre)", "(rate_post + rate_pre)**2",
    "tanh(rate_post*rate_pre - w)", "*".join(["(rate_post + rate_pre)"] * 12),
])
def test_what_is_no_sum_of_products_runs_by_synapse(text):
    found = separate(f"dw/dt = {text} : 1", None, "my.toml")
    assert found.synapse and not found.products and not found.rows
    for name in ("rate_post", "rate_pre"):
        assert name not in found.synapse  # all of one side is outside the loop


def expressions():
    post = st.sampled_from([*POST, "tanh(v_soma_post)", "eta", "2.5", "w", "(1 - w)"])
    pre = st.sampled_from(["rate_pre", "rate_pre**2", "tanh(rate_pre)", "0.5"])
    leaf = st.one_of(post, pre, st.tuples(post, pre).map("*".join))

    def grow(inner):
        return st.one_of(
            st.tuples(inner, st.sampled_from([" + ", " - ", "*"]), inner).map(
                lambda t: f"({t[0]}{t[1]}{t[2]})"),
            inner.map(lambda e: f"-({e})"),
            st.tuples(inner, st.sampled_from(["(2 + tanh(rate_post))", "(3 + rate_pre**2)",
                                              "(2 + w**2)", "(3 + sin(w*rate_post))"])).map(
                "/".join))

    return st.recursive(leaf, grow, max_leaves=6)


@settings(max_examples=150)
@given(text=expressions())
def test_the_products_add_up_to_the_text(state, text):
    found = separate(f"dw/dt = {text} : 1", None, "my.toml")
    read = numbers(state, 0) | ETA | {"tanh": np.tanh, "sin": np.sin, "w": state[0].W[0]}
    expected = eval(text, {}, read)
    read["mismatch_post"] = read["rate_post"] - read["prediction_post"]
    read["somatic_difference_post"] = read["v_soma_post"] - read["v_basal_post"]
    post, pre, weight = ([eval(factor, {}, read) for factor in part]
                         for part in (found.post, found.pre, found.weight))
    if found.synapse:
        slots = {f"post_{k}": a for k, a in enumerate(post)}
        slots |= {f"pre_{k}": a for k, a in enumerate(pre)}
        total = eval(found.synapse, {}, read | slots)
    else:
        total = sum(weight[c] * post[a] * pre[b] for c, a, b in found.products) \
            + sum(weight[c] * post[a] for c, a in found.rows)
    size = 1 + np.abs(expected).max()
    np.testing.assert_allclose(np.broadcast_to(total, (5, 6, 4)) / size,
                               np.broadcast_to(expected, (5, 6, 4)) / size, rtol=0, atol=1e-11)
    for part, others in ((found.post, "_pre"), (found.pre, "_post"), (found.weight, "_p")):
        assert not any(others in factor for factor in part)


OF_W = [f"eta*({text})" for text in (  # the last three are no sums of products
    "rate_post*rate_pre - rate_post**2*w", "apical_post*rate_pre - 0.3*w",
    "(1.5 - w)*(rate_post - prediction_post)*rate_pre", "exp(-w)*rate_post*rate_pre - w**3",
    "(rate_post - w)*rate_pre", "-w",
    "tanh(rate_post*rate_pre - w)", "relu(rate_post*rate_pre - w)*int(w > 0.1)*apical_post",
    "(rate_post - prediction_post)*rate_pre/(1 + (w*rate_pre)**2)",
)]


@pytest.mark.parametrize("text", OF_W)
def test_rules_that_read_the_weight(state, tmp_path, shipped_rule, text):
    rule = shipped_rule(own_rule(tmp_path, f"dw/dt = {text} : 1", "db/dt = eta*apical_post : 1",
                                 reads=("rate", "prediction", "apical")))
    assert rule.by_synapse == (text in OF_W[-3:])
    found = apply_rule(rule, *state)
    known = {"exp": np.exp, "tanh": np.tanh, "relu": lambda a: np.maximum(a, 0),
             "int": np.asarray} | ETA
    for i, w in enumerate(state[0].W):
        read = numbers(state, i)
        expected = np.broadcast_to(eval(text, known, read | {"w": w}), (5, *w.shape)).mean(axis=0)
        np.testing.assert_allclose(found.dW[i], expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.db[i], 2.0 * read["apical_post"].mean(axis=(0, 2)),
                                   rtol=0, atol=1e-13)


@pytest.mark.parametrize("text", [
    "eta*((1.5 - w)*(rate_post - prediction_post) - w*rate_post)*rate_pre - eta*rate_post**2*w",
    "-eta*w", OF_W[-3],
])
def test_rules_that_read_the_weight_through_a_phase(network, text):
    """Sums of products are averaged over states; a rule by synapse is read at their average."""
    net = network([4, 6, 3], ["tanh", "linear"], 4)
    rng = np.random.default_rng(5)
    fwd = forward(net, rng.normal(size=(70, 4)))
    control = Control(alpha=0.01, k_p=1, dt=0.1, steps=21, tau=0.5)
    rule = compile_rule(f"dw/dt = {text} : 1", "db/dt = eta*mismatch_post : 1", ETA)
    delta = 0.1 * rng.normal(size=(70, 3))
    one, two = (simulate(net, control, fwd, delta, rule=rule, record_every=1, threads=n)
                for n in (1, 2))
    path = one.trajectory
    r = [np.broadcast_to(fwd.x, (21, 70, 4)), *path.r]
    for i, w in enumerate(net.W):
        phi = (np.tanh, lambda v: v)[i]
        states = [path.v_soma[i], path.v_basal[i], r[i]]
        if rule.by_synapse:  # a rate of the averaged voltage, not an average of rates
            states[0], states[1] = (a.mean(axis=0, keepdims=True) for a in states[:2])
            states[2] = np.tanh(path.v_soma[0].mean(axis=0, keepdims=True)) if i else r[0][:1]
        read = {"rate_post": phi(states[0])[..., None], "prediction_post":
                phi(states[1])[..., None], "rate_pre": states[2][..., None, :], "w": w}
        expected = eval(text, {"tanh": np.tanh} | ETA, read).reshape(-1, *w.shape).mean(axis=0)
        np.testing.assert_allclose(one.dW[i], expected, rtol=0, atol=1e-12)
        mismatch = 2.0 * (read["rate_post"] - read["prediction_post"]).mean(axis=(0, 1, 3))
        np.testing.assert_allclose(one.db[i], mismatch, rtol=0, atol=1e-13)
        np.testing.assert_allclose(two.dW[i], one.dW[i], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("text", [
    "relu(rate_post)*rate_pre", "abs(apical_post)*rate_pre", "sqrt(exp(v_basal_post))*rate_pre**2",
])
def test_functions_of_a_rule_file(state, tmp_path, shipped_rule, text):
    rule = shipped_rule(own_rule(tmp_path, synapse=f"dw/dt = eta*{text} : 1",
                                 bias=f"db/dt = eta*{text.partition('*')[0]} : 1",
                                 reads=("rate", "apical", "v_basal")))
    found = apply_rule(rule, *state)
    known = {"relu": lambda a: np.maximum(a, 0), "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp}
    for i in range(2):
        expected = 2.0 * eval(text, known, numbers(state, i)).mean(axis=0)
        np.testing.assert_allclose(found.dW[i], expected, atol=1e-12)


def own_rule(folder, synapse, bias="", reads=("rate", "prediction"), pre=("rate",), **more):
    table = {"kind": "rule", "summary": "one of mine", "references": [],
             "reads": {"post": dict.fromkeys(reads, "1"), "pre": dict.fromkeys(pre, "1")},
             "synapse": synapse, "parameters": {"eta": "2 Hz"}, **more}
    if bias:
        table["bias"] = bias
    path = folder / "mine.toml"
    path.write_text(tomli_w.dumps(table))
    return path


def batch_of(state, rule):
    net, fwd, *_ = state
    delta = 0.1 * np.random.default_rng(3).normal(size=(5, 3))
    return Minibatch(net, fwd, delta, 0.1, Control(alpha=0.01, k_p=1, dt=0.1, steps=2, tau=1), rule)


def test_a_flipped_sign_flips_the_update(state, tmp_path, shipped_rule):
    own = own_rule(tmp_path, "dw/dt = eta*(prediction_post - rate_post)*rate_pre : 1",
                   "db/dt = eta*(prediction_post - rate_post) : 1")
    flipped = dfc_ssa.update(batch_of(state, shipped_rule(own))).update.flat()
    shipped = dfc_ssa.update(batch_of(state, shipped_rule("dfc_forward"))).update.flat()
    assert np.abs(shipped).max() > 1e-3
    np.testing.assert_array_equal(flipped, -shipped)


def test_parameters_of_a_rule_are_read(state, tmp_path, shipped_rule):
    own = own_rule(tmp_path, "dw/dt = 3*eta*theta**2*(rate_post - prediction_post)*rate_pre : 1",
                   parameters={"eta": "0.5 Hz", "theta": 0.5})
    found = dfc_ssa.update(batch_of(state, shipped_rule(own))).update
    shipped = dfc_ssa.update(batch_of(state, shipped_rule("dfc_forward"))).update
    for a, b in zip(found.dW, shipped.dW, strict=True):
        np.testing.assert_allclose(a, 3 * 0.5 * 0.25 / 2 * b, rtol=1e-14)
    assert all(not b.any() for b in found.db)  # the file has no bias equation


REFUSED = [
    ({"synapse": "dw/dt = eta*sign(rate_post)*rate_pre : 1"},
     "reads 'sign', which the rate level does not offer"),
    ({"synapse": "dw/dt = eta*b_post*rate_pre : 1", "reads": ("b",)},
     "reads 'b_post', which the rate level does not offer"),
]


@pytest.mark.parametrize(("table", "named"), REFUSED)
def test_what_the_rate_level_cannot_do_is_refused(tmp_path, shipped_rule, table, named):
    path = own_rule(tmp_path, **table)
    with pytest.raises(EngineError) as error:
        shipped_rule(path)
    message = str(error.value)
    assert "mine.toml" in message and named in message and "'brian'" in message


def test_text_is_compiled_to_what_the_kernel_is_written_with(network, shipped_rule):
    """The rule that stands in the source of the kernels is the published one without its 2."""
    from dfc_neuro.rates import _dynamics

    net = network([7, 9, 8, 3], ["tanh", "tanh", "linear"], 6)
    rng = np.random.default_rng(7)
    fwd = forward(net, rng.normal(size=(40, 7)))
    control = Control(alpha=0.01, k_p=1, dt=0.1, steps=30, tau=0.5)
    rule = shipped_rule("dfc_forward")
    written = replace(rule, module=_dynamics, parameters=())
    delta = 1e-3 * rng.normal(size=(40, 3))
    text, fused = (simulate(net, control, fwd, delta, rule=r).update.flat()
                   for r in (rule, written))
    assert np.linalg.norm(text - 2 * fused) < 1e-12 * np.linalg.norm(text)


def test_rules_of_spikes_are_refused(tmp_path, shipped_rule):
    with pytest.raises(InputError, match=r"projections.W\d.rule: rule 'clopath' reads V in volt.*"
                                         "pyramidal_escape"):
        shipped_rule("clopath")
    own = own_rule(tmp_path, "", pre=(), on_pre=["w += 0.1"])
    text = own.read_text().replace("[reads.pre]", "[reads.pre]\nspikes = true")
    own.write_text(text.replace('synapse = ""\n', ""))
    with pytest.raises(InputError, match="rule 'mine' reads spikes of the presynaptic side"):
        shipped_rule(own)


def test_both_sides_and_both_kinds_of_projection(circuit_with):
    with pytest.raises(EngineError, match=r"projections.W2: has another rule than its siblings"):
        layered(circuit_with({"projections.W2.rule": "dfc_forward_voltage"})).rule("W")
    with pytest.raises(InputError, match="rule 'dfc_feedback' reads u_next of the presynaptic"):
        circuit_with({"projections.W1.rule": "dfc_feedback"})
    with pytest.raises(InputError, match="rule 'dfc_forward' reads rate of the presynaptic side"):
        circuit_with({"projections.Q1.rule": "dfc_forward"})
    without = circuit_with({"projections.W1.rule": None, "projections.W2.rule": None})
    with pytest.raises(EngineError, match="none of W1, W2 has a rule"):
        layered(without).rule("W")
    assert layered(without).rule("Q").parameters == (1.0, 0.01)
