"""Shipped rules of plasticity on given spikes against event-by-event sums and published tables."""

import numpy as np
import pytest

from dfc_neuro import brian
from dfc_neuro.files import resolve
from dfc_neuro.results import Result, Writer

# one cell that spikes when it is told to; conditions are lists of spike times in ms
PROTOCOL = """
kind = "recording"
summary = "Given spikes on both sides"
on = "spike_relay"
duration = "{duration} ms"
numerics = {{ dt = "{dt} ms", method = "euler", target = "numpy" }}
plastic.test = {{ at = "soma", rule = "{rule}" }}
stimuli.pre = {{ type = "spikes", at = "test", times = ["0 ms"] }}
{posts}
[conditions]
{conditions}
"""
PULSE = 'stimuli.post{k} = {{ type = "step", at = "soma", amplitude = "10 nA" }}'


def weights(rule, pre, post, dt, **keys):
    """Return the weights (start, conditions at the end) of a rule on given spikes (ms)."""
    posts = "\n".join(PULSE.format(k=k) for k in range(len(post[0])))
    conditions = ""
    for c, (before, after) in enumerate(zip(pre, post, strict=True)):
        edges = "".join(f', "stimuli.post{k}.from" = "{t!r} ms", "stimuli.post{k}.to" = '
                        f'"{t + dt!r} ms"' for k, t in enumerate(after))
        conditions += f'c{c} = {{ "stimuli.pre.times" = {[f"{t!r} ms" for t in before]}{edges} }}\n'
    end = max(t for part in (*pre, *post) for t in part) + 5 * dt
    with open("p.toml", "w", encoding="utf-8") as file:
        file.write(PROTOCOL.format(rule=rule, dt=dt, duration=end, posts=posts,
                                   conditions=conditions))
    protocol = resolve.protocol("./p.toml", keys)
    with Writer("result.h5", {"seed": 1}, force=True) as writer:
        brian.record(protocol, writer, 1, progress=False)
    w = Result("result.h5")["test"]["w"].values[:, :, 0]
    return w[0, 0], w[1]


def pairing(rule, frequencies, lags, n, **keys):
    """Return weights (lag, frequency) in per cent after n pairs at each frequency (Hz, ms)."""
    grid = [(f, lag) for lag in lags for f in frequencies]
    pre = [[float(round(50 + 1e3 * k / f)) for k in range(n)] for f, _ in grid]
    post = [[t + lag for t in times] for times, (_, lag) in zip(pre, grid, strict=True)]
    start, end = weights(rule, pre, post, 1.0, **keys)
    return (100 * end / start).reshape(len(lags), -1)


def test_triplet_rule_reproduces_the_published_rows(workdir):
    """60 pairs; all spikes with all.  At 0.1 Hz pairs do not see each other: 2 Hz does as well."""
    found = pairing("triplet", [10, 20, 40, 50], [10, -10], 60)
    np.testing.assert_allclose(found, [[113.2, 124.7, 153.4, 174.1], [66.6, 64.8, 115.5, 172.7]],
                               atol=0.5)
    alone = 100 + 60 * (pairing("triplet", [0.8], [10, -10], 1)[:, 0] - 100)
    np.testing.assert_allclose(alone, [100.0, 68.8], atol=0.5)


def nearest(pre, post, p):
    """Return the weight after a triplet rule that knows only the last spike of each side."""
    w, last = 1.0, {"pre": [-np.inf], "post": [-np.inf]}
    for t, side in sorted([(t, "pre") for t in pre] + [(t, "post") for t in post]):
        since = {k: t - v[-1] for k, v in last.items()}
        if side == "pre":
            w -= np.exp(-since["post"] / 33.7) * (
                p["A2_minus"] + p["A3_minus"] * np.exp(-since["pre"] / p["tau_x"]))
        else:
            w += np.exp(-since["pre"] / 16.8) * (
                p["A2_plus"] + p["A3_plus"] * np.exp(-since["post"] / p["tau_y"]))
        last[side].append(t)
    return w


def test_nearest_triplets_and_pairs_are_sums_over_spikes(workdir):
    rng = np.random.default_rng(3)
    pre = [sorted(map(float, rng.choice(400, 12, replace=False))) for _ in range(3)]
    post = [[4.0 * k + 0.5 for k in sorted(map(int, rng.choice(100, 10, replace=False)))]
            for _ in range(3)]
    p = {"A2_plus": 8.8e-11, "A3_plus": 5.3e-2, "A2_minus": 6.6e-3, "A3_minus": 3.1e-3,
         "tau_x": 714.0, "tau_y": 40.0}
    _, found = weights("triplet_nearest", pre, post, 0.5)
    expected = [nearest(a, b, p) for a, b in zip(pre, post, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)

    _, found = weights("stdp_pair", pre, post, 0.5)
    lags = [np.subtract.outer(b, a).ravel() for a, b in zip(pre, post, strict=True)]
    expected = [1 + 0.01 * np.sum(np.sign(lag) * np.exp(-np.abs(lag) / 20)) for lag in lags]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def burst_sum(times, gap=0.0, epochs=1, eta=0.1, tau=15e3):
    """Return the change of weight by the burst rule, spike by spike, pre and post together (ms).

    A spike more than 16 ms after the last is an event; the first within 16 ms of an event makes a
    burst.  Running means change after the weight.  `times` are repeated with a `gap` of silence.
    """
    w, events, bursts = 0.0, 5e-3, 0.75e-3  # per ms
    for _ in range(epochs):
        trace, last, was_event = 0.0, -np.inf, False
        before = 0.0
        for t in times:
            fade = np.exp(-(t - before) / tau)
            trace *= np.exp(-(t - before) / 50)
            events, bursts, before = events * fade, bursts * fade, t
            event = t - last > 16
            burst = was_event and not event
            trace += event
            w += eta * (burst - bursts / events * event) * trace
            events, bursts = events + event / tau, bursts + burst / tau
            last, was_event = t, event
        fade = np.exp(-(gap - before) / tau)
        events, bursts = events * fade, bursts * fade
    return w


# Payeur et al. 2021, their code: 15 x 5 pairings, lag 0, 10 s and a second after each five
PAYEUR = {1: -.2387, 10: -.3325, 20: -.4183, 40: -.5441, 60: -.6203, 65: .1591, 80: .2257,
          100: .2839}


@pytest.mark.parametrize(("frequency", "expected"), PAYEUR.items())
def test_the_sum_over_spikes_is_the_published_table_of_the_burst_rule(frequency, expected):
    """Their spikes lie on a grid of 0.1 ms, times cut down to it."""
    times = [int((0.010 + k / frequency) / 0.0001) * 0.1 for k in range(5)]
    gap = 5e3 / frequency + 1e3 + 10e3
    assert burst_sum(times, gap, 15) == pytest.approx(expected, abs=1e-3)


def test_burst_rule_is_its_sum_over_spikes_and_flips_at_62_5_hz(workdir):
    """At frequencies of the table and others; two trains, so that running means matter."""
    intervals = [100.0, 40.0, 17.5, 16.1, 16.0, 15.9, 12.5, 7.3]  # ms
    trains = [[10 + k * each for k in range(5)] for each in intervals]
    times = [[round(t, 1) for t in (*train, *(600 + t for t in train))] for train in trains]
    start, end = weights("burst", times, times, 0.1)
    expected = [burst_sum(own) for own in times]
    np.testing.assert_allclose(end - start, expected, rtol=0, atol=1e-9)
    assert start == 1.0
    np.testing.assert_array_equal(np.sign(end - start), [-1, -1, -1, -1, 1, 1, 1, 1])
