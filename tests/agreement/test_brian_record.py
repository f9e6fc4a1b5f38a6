"""A recording is the same however it is run: in chunks, side by side, again."""

import numpy as np
import pytest

from dfc_neuro import brian
from dfc_neuro.brian import recording, stimuli
from dfc_neuro.errors import EngineError, NumericalError, ProtocolError
from dfc_neuro.files import load, resolve
from dfc_neuro.results import Writer
from dfc_neuro.run import run

NOISY = """
kind = "recording"
summary = "Noise on the soma, steps that differ"
on = "pyramidal_escape"
duration = "100 ms"
numerics = { method = "rk2", dt = "0.1 ms" }
stimuli.noise = { type = "white", at = "soma", sigma = "40 pA*ms**0.5", mean = "100 pA" }
[stimuli.epsc]
type = "epsc"
at = "apical"
amplitude = "200 pA"
start = "30 ms"
tau_rise = "0.5 ms"
tau_decay = "5 ms"
[record]
voltages = { what = ["V_m_soma", "V_m_apical"], every = "0.5 ms" }
spikes = { what = "spikes" }
"""
QUIET = """
kind = "recording"
summary = "Conditions with other amplitudes, parameters, steps"
on = "pyramidal_escape"
duration = "60 ms"
numerics = { method = "rk4", dt = "0.1 ms" }
stimuli.pulse = { type = "step", at = "soma", amplitude = "100 pA", from = "10 ms", to = "15 ms" }
[stimuli.epsc]
type = "epsc"
at = "apical"
amplitude = "300 pA"
locked_to = "pulse"
after = "5 ms"
tau_rise = "0.5 ms"
tau_decay = "5 ms"
[record]
voltages = { what = ["V_m_basal", "V_m_soma", "V_m_apical"], every = "1 ms" }
[conditions]
both = {}
pulse = { "stimuli.epsc.amplitude" = "0 pA" }
epsc = { "stimuli.pulse.amplitude" = "0 pA" }
leaky = { "parameters.g_L_soma" = "15 nS" }
fine = { "numerics.dt" = "0.05 ms" }
short = { "duration" = "30 ms" }
"""


def ran(text, seed=1, **keys):
    with open("p.toml", "w", encoding="utf-8") as file:
        file.write(text)
    return run("./p.toml", out="result.h5", seed=seed, force=True, progress=False,
               keys={k.replace("__", "."): v for k, v in keys.items()})


def numbers(result):
    traces = {k: result["voltages"][k].values for k in result["voltages"]}
    spikes = {k: result.spikes[n][k].values for n in result.spikes for k in result.spikes[n]}
    return traces | spikes


def test_chunks_seeds_and_again(workdir, monkeypatch):
    whole = numbers(ran(NOISY))
    assert whole["time"].size > 3
    again = numbers(ran(NOISY))
    monkeypatch.setattr(recording, "CHUNK_BYTES", 16 * 37)
    chunks = numbers(ran(NOISY))
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)
        np.testing.assert_array_equal(chunks[name], values)
    other = numbers(ran(NOISY, seed=2))
    assert np.abs(other["V_m_soma"] - whole["V_m_soma"]).max() > 1e-4


def test_conditions_side_by_side_are_those_alone(workdir):
    recorded = ran(QUIET)["voltages"]
    order = ["both", "pulse", "epsc", "leaky", "fine", "short"]
    assert list(recorded["V_m_soma"].coords["condition"]) == order
    together = {name: recorded[name].values[:, :, 0] for name in recorded}
    labels = {"both": {}, "pulse": {"stimuli.epsc.amplitude": "0 pA"},
              "leaky": {"parameters.g_L_soma": "15 nS"}, "fine": {"numerics.dt": "0.05 ms"}}
    alone = QUIET.partition("[conditions]")[0]
    for label, keys in labels.items():
        single = ran(alone, **keys)["voltages"]
        for name in together:
            np.testing.assert_allclose(together[name][:, order.index(label)],
                                       single[name].values[:, 0, 0], rtol=0, atol=1e-15)
    v = dict(zip(order, together["V_m_soma"].T, strict=True))
    # a passive cell adds up, and its conditions differ
    np.testing.assert_allclose(v["both"] + 0.07, v["pulse"] + v["epsc"] + 0.14, atol=1e-12)
    assert np.abs(v["leaky"] - v["both"]).max() > 1e-4
    assert 0 < np.abs(v["fine"] - v["both"]).max() < 1e-5
    np.testing.assert_array_equal(v["short"][:30], v["both"][:30])
    assert np.isnan(v["short"][30:]).all()


def test_derived_parameters_are_stored_and_reported(workdir):
    with open("p.toml", "w", encoding="utf-8") as file:
        file.write(QUIET)
    protocol = resolve.protocol("./p.toml", {"duration": "2 ms"})
    with Writer("result.h5", {"seed": 1}) as writer:
        reported = brian.record(protocol, writer, 1, progress=False)
    constants = load("pyramidal_escape", "cell").constants
    assert set(reported) == set()  # they differ in the condition "leaky"
    import h5py

    with h5py.File("result.h5") as file:
        gamma = file["derived/gamma"][:]
    S = 15 + 20 * 5 / 25
    assert gamma[0] == constants["gamma"].value
    assert gamma[3] == pytest.approx(1 - 4 / (7 * (S + 2)), abs=1e-12)


def test_white_noise_has_its_variance():
    from dfc_neuro.brian.waveforms import White

    array = np.zeros(4000)
    ones = np.ones(4000)
    white = White(array, 2.0 * ones, 0.3 * ones, 0.0 * ones, 5.0 * ones,
                  np.random.default_rng(1), 0.1)
    white(0)
    assert array.mean() == pytest.approx(2.0, abs=0.02)
    assert array.std() == pytest.approx(0.3, rel=0.05)
    white(50)
    assert not array.any()


def test_trains_of_spikes():
    protocol = resolve.protocol("clopath_clamp", {"stimuli.pre.train.repeat": 2,
                                                  "stimuli.pre.train.every": "10 s"})
    times = stimuli.onsets(protocol, "pre")
    expected = np.concatenate([0.3 + np.arange(25) / 50, 10.3 + np.arange(25) / 50])
    np.testing.assert_allclose(times, expected, atol=1e-12)


def test_a_run_that_blows_up_names_cell_compartment_and_time(workdir):
    with pytest.raises(NumericalError, match=r"pyramidal_escape.toml: V_m_\w+ \(\w+ compartment of "
                       r"unit 0 of 'cell', condition both\) passed 1 between [\d.]+ and [\d.]+ ms"):
        ran(QUIET, numerics__method="euler", numerics__dt="10 ms", duration="2 s",
            record__voltages__every="20 ms")


@pytest.mark.parametrize(("keys", "error", "message"), [
    ({"numerics.proactive": True}, EngineError, "numerics.proactive: is an option of the rate"),
    ({"numerics.transmission": "instant"}, EngineError, "numerics.transmission: is an option"),
    ({"numerics.instant_system": True}, EngineError, "numerics.instant_system: is an option"),
    ({"numerics.integrator": "fast"}, EngineError, "numerics.integrator: is an option"),
    ({"stimuli.epsc.after": "-20 ms"}, ProtocolError, "let 'pulse' start later"),
    ({"stimuli.epsc.tau_rise": "5 ms"}, ProtocolError, "write 0 < tau_rise < tau_decay"),
    ({"record.voltages.every": "0.17 ms"}, ProtocolError, "is no multiple of dt"),
])
def test_what_the_engine_refuses(workdir, keys, error, message):
    with pytest.raises(error, match=message):
        ran(QUIET.partition("[conditions]")[0], **keys)
