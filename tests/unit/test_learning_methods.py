"""Each method's update of one minibatch against its formula, written out in NumPy."""

from dataclasses import replace

import numpy as np
import pytest

from dfc_neuro.methods import bp, dfa, dfc, dfc_ss, dfc_ssa
from dfc_neuro.methods._convergence import controlled
from dfc_neuro.methods._step import Minibatch
from dfc_neuro.rates.control import Control
from dfc_neuro.rates.losses import LOSSES, errors
from dfc_neuro.rates.network import Forward, forward
from dfc_neuro.rates.simulate import simulate

RULES = ("dfc_forward", "dfc_forward_voltage", "dfc_forward_derivative")
CONTROL = Control(alpha=0.02, k_p=1.5, dt=0.05, steps=80, tau=0.2)
B = 7


@pytest.fixture(scope="module")
def nets(network):
    return {name: network([5, 8, 6, 4], ["tanh", "tanh", name], 11) for name in ("linear", "tanh")}


def minibatch(net, rule, delta=None, control=CONTROL, **options):
    rng = np.random.default_rng(12)
    x = rng.normal(size=(B, 5))
    delta = 0.3 * rng.normal(size=(B, 4)) if delta is None else delta
    return Minibatch(net, forward(net, x), delta, 0.1, control, rule, **options)


def rule_at(transcription, net, rule, x, v, v_basal, r, v_free):
    """The local rule (dfc.md 2.1) at one state, and its mean over the minibatch."""
    dW, db = [], []
    for i, name in enumerate(net.nonlinearities):
        phi, slope = transcription.phi[name]
        g = 2 * (phi(v[i]) - phi(v_basal[i]) if rule == "dfc_forward" else v[i] - v_basal[i])
        g = g * slope(v_free[i]) if rule == "dfc_forward_derivative" else g
        dW.append(g.T @ (r[i - 1] if i else x) / B)
        db.append(g.mean(axis=0))
    return dW, db


def assert_same(update, dW, db, atol=1e-12):
    for found, wanted in zip([*update.dW, *update.db], [*dW, *db], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=atol * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("output", ["linear", "tanh"])
def test_dfc_ssa(transcription, shipped_rule, nets, output, rule):
    """u = (J Q + alpha)^-1 delta sample by sample, then one sweep with Q u added."""
    net = nets[output]
    batch = minibatch(net, shipped_rule(rule))
    v = [[] for _ in range(3)]
    v_basal, r = [[] for _ in range(3)], [[] for _ in range(3)]
    for k in range(B):
        gain, J = 0.02 * np.eye(4), None
        for i in (2, 1, 0):
            slope = np.diag(transcription.phi[net.nonlinearities[i]][1](batch.fwd.v[i][k]))
            J = slope if J is None else J @ net.W[i + 1] @ slope
            gain = gain + J @ net.Q[i]
        u, below = np.linalg.inv(gain) @ batch.delta[k], batch.fwd.x[k]
        for i in range(3):
            v_basal[i].append(net.W[i] @ below + net.b[i])
            v[i].append(v_basal[i][-1] + net.Q[i] @ u)
            below = transcription.phi[net.nonlinearities[i]][0](v[i][-1])
            r[i].append(below)
    v, v_basal, r = ([np.array(a) for a in part] for part in (v, v_basal, r))
    step = dfc_ssa.update(batch)
    assert_same(step.update, *rule_at(transcription, net, rule, batch.fwd.x, v, v_basal, r,
                                      batch.fwd.v))
    assert (step.converged, step.diverged, step.neither) == (B, 0, 0)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("transmission", ["instant", "delayed"])
def test_dfc_ss(transcription, shipped_rule, nets, transmission, rule):
    """The last difference of soma and basal voltage, basal voltages anew from the last rates."""
    net = nets["linear"]
    control = Control(alpha=0.02, k_p=1.5, dt=0.05, steps=30, tau=0.2, transmission=transmission)
    batch = minibatch(net, shipped_rule(rule), control=control)
    path = transcription.run(net, control, batch.fwd.x, batch.delta)
    r = [a[-1] for a in path.r]
    v_basal = [(r[i - 1] if i else batch.fwd.x) @ net.W[i].T + net.b[i] for i in range(3)]
    v = [a[-1] - b[-1] + new for a, b, new in zip(path.v, path.v_B, v_basal, strict=True)]
    assert_same(dfc_ss.update(batch).update,
                *rule_at(transcription, net, rule, batch.fwd.x, v, v_basal, r, batch.fwd.v))


def published_verdict(path, alpha, slip=False):
    """dfc.md 1.6: converged and diverged samples, from all states of a phase."""
    free, last = path.r[-1][0], path.r[-1][-1]
    target = path.target
    d = np.linalg.norm(last - (target - alpha * path.u[-1]), axis=1) / np.linalg.norm(free, axis=1)
    first = np.linalg.norm(target - (free[:1] if slip else free), axis=1)
    shrunk = np.linalg.norm(target - last, axis=1) < 0.25 * first
    return (d < 1e-5) & shrunk, d > 1


@pytest.fixture(scope="module")
def mixed(transcription, nets):
    """A minibatch of which some samples settle in time, some do not, and one is far away."""
    net = nets["linear"]
    control = Control(alpha=0.001, k_p=1.5, dt=0.05, steps=220, tau=0.2)
    delta = np.random.default_rng(13).normal(size=(B, 4))
    delta *= np.array([1e-3, 1.0, 1e-3, 0.3, 1e-4, 1e-5, 5e3])[:, None]
    batch = minibatch(net, None, delta, control)
    path = transcription.run(net, control, batch.fwd.x, delta)
    path.target = batch.fwd.r[-1] + delta
    good, bad = published_verdict(path, control.alpha)
    assert 0 < good.sum() < B - 1 and bad.sum() == 1 and (~good & ~bad).any()
    return net, control, delta, path, good, bad


def test_samples_that_did_not_converge_count_but_do_not_contribute(
        transcription, shipped_rule, mixed):
    net, control, delta, path, good, bad = mixed
    rule = shipped_rule("dfc_forward")
    batch = minibatch(net, rule, delta, control, keep_unconverged=False)
    average = dfc.update(batch)
    for part in ("v", "v_B", "r"):  # reset to feedforward values over the whole trajectory
        setattr(path, part, [a.copy() for a in getattr(path, part)])
    for v, v_B, r in zip(path.v, path.v_B, path.r, strict=True):
        for a in (v, v_B, r):
            a[:, ~good] = a[:1, ~good]
    dW, db = transcription.averaged(net, control, path, "dfc_forward")
    assert_same(average.update, dW, db)
    assert (average.converged, average.diverged, average.neither) == (
        good.sum(), bad.sum(), B - good.sum() - bad.sum())
    last = dfc_ss.update(batch)
    r, v, v_B = ([a[-1] for a in part] for part in (path.r, path.v, path.v_B))
    assert_same(last.update, *rule_at(transcription, net, "dfc_forward", batch.fwd.x, v, v_B, r,
                                      batch.fwd.v))
    assert last.converged == good.sum()


def test_all_samples_are_kept_on_request(transcription, shipped_rule, nets):
    net = nets["linear"]
    control = Control(alpha=0.02, k_p=1.5, dt=0.05, steps=5, tau=0.2)  # far too short
    batch = minibatch(net, shipped_rule("dfc_forward"), control=control)
    path = transcription.run(net, control, batch.fwd.x, batch.delta)
    step = dfc.update(batch)  # a Minibatch keeps them
    assert_same(step.update, *transcription.averaged(net, control, path, "dfc_forward"))
    assert step.converged == 0
    none = dfc.update(minibatch(net, shipped_rule("dfc_forward"), control=control,
                                keep_unconverged=False))
    assert not none.update.flat().any()


def test_noise_of_converged_samples_is_that_of_the_first_pass(shipped_rule, mixed):
    """The update of the samples that converged is the mean of their own trajectories."""
    net, control, delta, _, _, _ = mixed
    noisy = replace(control, sigma=1e-7)
    batch = minibatch(net, shipped_rule("dfc_forward"), delta, noisy, keep_unconverged=False,
                      seed=3)
    step = dfc.update(batch)
    assert 0 < step.converged < B
    _, good, _ = controlled(batch, learn=True)
    total = np.zeros_like(step.update.flat())
    for k in np.flatnonzero(good):
        one = Forward(batch.fwd.x[k:k + 1], [v[k:k + 1] for v in batch.fwd.v],
                      [r[k:k + 1] for r in batch.fwd.r])
        total += simulate(net, noisy, one, delta[k:k + 1], rule=batch.rule, seed=3,
                                 samples=np.array([k])).update.flat()
    np.testing.assert_allclose(step.update.flat(), total / B, rtol=0, atol=1e-15)


def test_the_published_slip_of_dfc_ss(transcription, shipped_rule, nets):
    """as_published: |e(0)| is taken against the first sample's output (dfc.md 1.6)."""
    net = nets["linear"]
    control = Control(alpha=40.0, k_p=0.0, dt=0.01, steps=300, tau=0.2)  # settles, shrinks little
    delta = 1e-3 * np.random.default_rng(14).normal(size=(B, 4))
    plain, slip = (minibatch(net, shipped_rule("dfc_forward"), delta, control, as_published=a,
                             keep_unconverged=False) for a in (False, True))
    path = transcription.run(net, control, plain.fwd.x, delta)
    path.target = plain.fwd.r[-1] + delta
    assert not published_verdict(path, 40.0)[0].any()
    good, _ = published_verdict(path, 40.0, slip=True)
    assert good.sum() == B - 1 and not good[0]
    assert not dfc_ss.update(plain).update.flat().any()
    step = dfc_ss.update(slip)
    for part in (path.v, path.v_B, path.r):
        for a in part:
            a[-1, 0] = a[0, 0]
    r, v, v_B = ([a[-1] for a in part] for part in (path.r, path.v, path.v_B))
    assert_same(step.update, *rule_at(transcription, net, "dfc_forward", slip.fwd.x, v, v_B, r,
                                      slip.fwd.v), atol=1e-15)
    assert step.converged == B - 1
    assert not dfc.update(slip).update.flat().any()  # the slip is DFC-SS's alone


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_bp_by_differences_of_the_loss(transcription, nets, loss):
    rng = np.random.default_rng(15)
    x = rng.normal(size=(B, 5))
    target = rng.integers(0, 4, B) if loss == "cross_entropy" else rng.normal(size=(B, 4))
    net = nets["linear"]

    def value(W, b):
        r = x
        for w, shift, name in zip(W, b, net.nonlinearities, strict=True):
            r = transcription.phi[name][0](r @ w.T + shift)
        if loss == "mse":
            return np.mean((r - target) ** 2)
        p = np.exp(r) / np.exp(r).sum(axis=1, keepdims=True)
        return -np.mean(np.log(p[np.arange(B), target]))

    fwd = forward(net, x)
    found, gradient = LOSSES[loss](fwd.r[-1], target)
    assert found == pytest.approx(value(net.W, net.b), rel=1e-14)
    update = bp.update(Minibatch(net, fwd, -0.1 * gradient, 0.1, CONTROL, None)).update
    h = 1e-5
    for kind, ascent in (("W", update.dW), ("b", update.db)):
        for i in range(3):
            direction = rng.normal(size=ascent[i].shape)

            def moved(step, kind=kind, i=i, direction=direction):
                parts = {"W": list(net.W), "b": list(net.b)}
                parts[kind][i] = parts[kind][i] + step * direction
                return value(parts["W"], parts["b"])

            slope = (moved(h) - moved(-h)) / (2 * h)
            assert (ascent[i] * direction).sum() == pytest.approx(-slope, rel=1e-7, abs=1e-10)


def test_dfa_reaches_for_its_targets(transcription, nets):
    """h* = h + Q r_L* + c - (Q v_L + c), g = 2 phi'(v)(h - h*), with feedforward rates below."""
    net = nets["linear"]
    batch = minibatch(net, None)
    target = batch.fwd.r[-1] + batch.delta
    dW, db = [], []
    for i in range(3):
        h, below = batch.fwd.r[i], batch.fwd.r[i - 1] if i else batch.fwd.x
        reach = target if i == 2 else h + target @ net.Q[i].T - batch.fwd.v[2] @ net.Q[i].T
        slope = transcription.phi[net.nonlinearities[i]][1](batch.fwd.v[i]) if i < 2 else 1.0
        g = 2 * slope * (h - reach)
        dW.append(-g.T @ below / B)
        db.append(-g.mean(axis=0))
    assert_same(dfa.update(batch).update, dW, db)


def test_losses_of_few_numbers():
    """Softmax of (0, ln 2, ln 5) is (1, 2, 5)/8."""
    r = np.array([[0.0, np.log(2), np.log(5)], [0.0, 0.0, 0.0]])
    loss, gradient = LOSSES["cross_entropy"](r, np.array([1, 0]))
    assert loss == pytest.approx((np.log(4) + np.log(3)) / 2, rel=1e-15)
    np.testing.assert_allclose(
        gradient, np.array([[1 / 8, -6 / 8, 5 / 8], [-2 / 3, 1 / 3, 1 / 3]]) / 2, rtol=1e-14)
    far, _ = LOSSES["cross_entropy"](1000 * r, np.array([1, 0]))
    assert far == pytest.approx((1000 * np.log(2.5) + np.log(3)) / 2, rel=1e-14)
    assert errors("cross_entropy", r, np.array([1, 0])) == 0.5
    loss, gradient = LOSSES["mse"](np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    assert loss == 2.5 and gradient.tolist() == [[1.0, -2.0]]
    assert errors("mse", np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]])) == 2.5
