"""Spiking circuits on Brian2: delays, populations, random spikes, and when a run ends."""

import numpy as np
import pytest

from dfc_neuro.brian import plan, stimuli
from dfc_neuro.errors import EngineError
from dfc_neuro.files import resolve
from dfc_neuro.run import run

CIRCUIT = """
kind = "circuit"
summary = "A source of spikes, two populations, an inhibitory projection with a delay"
[populations]
source = { n = 3, source = "spikes" }
first = { n = 2, cell = "pyramidal_escape" }
second = { n = 4, cell = "pyramidal_escape" }
[projections.A]
from = "source.spikes"
to = "first.soma"
synapse = "gaba_a"
scale = "1 nS"
delay = "DELAY"
[projections.B]
from = "first.spikes"
to = "second.basal"
synapse = "gaba_a"
scale = "1 nS"
rule = "clopath"
"""
PROTOCOL = """
kind = "recording"
summary = "Spikes into the circuit"
on = "circuit.toml"
duration = "80 ms"
numerics = { method = "rk4", dt = "0.1 ms" }
stimuli.in = { type = "spikes", at = "source", times = ["10 ms", "20 ms"] }
stimuli.drive = { type = "step", at = "second.soma", amplitude = "50 pA" }
record.first = { what = "V_m_soma", of = "first" }
record.second = { what = "V_m_soma", of = "second", units = [1, 3] }
record.source = { what = "spikes", of = "source" }
"""


def prepare(delay="0 ms", protocol=PROTOCOL):
    for name, text in (("circuit.toml", CIRCUIT.replace("DELAY", delay)), ("p.toml", protocol)):
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)


def ran(seed=1, **keys):
    return run("./p.toml", out="result.h5", seed=seed, force=True, progress=False,
               keys={k.replace("__", "."): v for k, v in keys.items()})


def test_a_delay_shifts_what_a_spike_does(workdir):
    prepare()
    now = ran()["first"]["V_m_soma"].values[:, 0]
    prepare("3 ms")
    result = ran()
    later = result["first"]["V_m_soma"].values[:, 0]
    assert now.shape == (800, 2)
    assert now.min() < -0.0705
    np.testing.assert_array_equal(later[30:], now[:-30])
    assert result["second"]["V_m_soma"].values.shape == (800, 1, 2)
    assert list(result["second"]["V_m_soma"].coords["unit"]) == [1, 3]
    spikes = result.spikes["source"]
    np.testing.assert_allclose(np.sort(spikes["time"].values), [0.01] * 3 + [0.02] * 3, atol=1e-9)
    np.testing.assert_array_equal(np.sort(spikes["unit"].values), [0, 0, 1, 1, 2, 2])
    assert result.weights["B"].values.shape == (1, 8)


def test_random_spikes_have_their_rate(workdir):
    poisson = PROTOCOL.replace('type = "spikes"', 'type = "poisson"').replace(
        'times = ["10 ms", "20 ms"]', 'rate = "400 Hz", from = "20 ms", to = "70 ms"')
    prepare(protocol=poisson)
    counts = [ran(seed, record__first__every="10 ms").spikes["source"]["time"].values
              for seed in (1, 2, 3)]
    times = np.concatenate(counts)
    assert times.min() >= 0.02 and times.max() < 0.07
    assert len(times) == pytest.approx(3 * 3 * 400 * 0.05, abs=4 * np.sqrt(180))
    assert not np.array_equal(counts[0], counts[1])


def test_an_automatic_duration_ends_ten_time_constants_after_the_last_event(workdir):
    prepare()
    protocol = resolve.protocol("./p.toml", {"duration": "auto"})
    assert stimuli.last_event(protocol) == pytest.approx(0.02)
    assert plan.duration(protocol) == pytest.approx(0.02 + 10 * 0.015)  # Clopath's tau_x


def test_a_name_that_brian2_needs_is_refused(workdir):
    prepare()
    with open("circuit.toml", "a", encoding="utf-8") as file:
        file.write('[projections.post]\nfrom = "first.spikes"\nto = "second.soma"\n'
                   'synapse = "gaba_a"\nscale = "1 nS"\n')
    with pytest.raises(EngineError, match="'post' is one of the two sides of a synapse"):
        ran()
