"""The cheap bursting cell, the interneurons beside it, and the cell that predicts its soma.

Rates and spike times of naud_sprekeler: an independent forward-Euler run at 0.1 ms of the equations
of the public code (Payeur et al. 2021), rates over 4 s after the first.
"""

import numpy as np
import pytest

from dfc_neuro.files.load import load
from dfc_neuro.results import Result
from dfc_neuro.run import run

STEPS = """
kind = "recording"
summary = "Currents into the soma"
on = "{cell}"
duration = "{duration}"
numerics = {{ method = "{method}", dt = "{dt} ms" }}
stimuli.step = {{ type = "step", at = "soma", amplitude = "{{current}}" }}
over.current = {currents}
record.fired = {{ what = "spikes" }}
"""
BAC = """
kind = "recording"
summary = "A somatic pulse and an apical current, apart and together"
on = "naud_sprekeler"
duration = "200 ms"
numerics = { method = "rk4", dt = "0.1 ms" }
stimuli.pulse = { type = "step", at = "soma", amplitude = "2 nA", from = "50 ms", to = "55 ms" }
[stimuli.drive]
type = "pulse"
at = "apical"
amplitude = "400 pA"
start = "50 ms"
width = "100 ms"
[record]
fired = { what = "spikes" }
voltage = { what = "V_m_apical" }
[conditions]
both = {}
pulse = { "stimuli.drive.amplitude" = "0 pA" }
drive = { "stimuli.pulse.amplitude" = "0 pA" }
strong = { "stimuli.pulse.amplitude" = "0 pA", "stimuli.drive.amplitude" = "600 pA" }
"""


def ran(text, seed=1):
    with open("p.toml", "w", encoding="utf-8") as file:
        file.write(text)
    return run("./p.toml", out="result.h5", seed=seed, force=True, progress=False)


def times(result, condition):
    """Ends of the steps in which the cell fired, in ms."""
    spikes = result.spikes["fired"]
    return spikes["time"].values[spikes["condition"].values == condition] * 1e3 + 0.1


def counts(cell, currents, duration="1 s", dt=0.1, start=0.0, method="rk4"):
    """Spikes after `start` (s) at each current (pA)."""
    text = STEPS.format(cell=cell, duration=duration, dt=dt, method=method,
                        currents=[f"{c} pA" for c in currents])
    spikes = ran(text).spikes["fired"]
    late = spikes["time"].values >= start
    return [int((late & (spikes["condition"].values == f"current={c} pA")).sum())
            for c in currents]


def test_rates_of_the_bursting_cell(workdir):
    currents = {470: 3.5, 500: 5.25, 700: 14.5, 1000: 26.25, 1500: 44.75}  # pA: Hz
    found = counts("naud_sprekeler", list(currents), "5 s", 0.2, 1.0, "rk2")
    np.testing.assert_allclose(np.array(found) / 4, list(currents.values()), atol=0.5)


def test_rheobase_of_the_bursting_cell(workdir):
    """20 mV C_s/tau_s - g_s f(V_rest), with V_rest that of the apical compartment."""
    rest = -70.0  # mV; f is so flat there that the apical compartment stays within 1 mV
    rheobase = 20 * 370 / 16 - 1300 / (1 + np.exp((-38 - rest) / 6))
    assert rheobase == pytest.approx(462.5 - 6.2, abs=0.1)
    below, above = counts("naud_sprekeler", [round(rheobase - 1, 1), round(rheobase + 1, 1)],
                          "300 ms", 0.2)
    assert below == 0
    assert above > 0


def test_bursts_when_apical_input_meets_a_spike(workdir):
    result = ran(BAC)
    np.testing.assert_allclose(times(result, "both"), [54.2, 65.1, 77.7, 94.9], atol=0.2)
    assert len(times(result, "pulse")) == 1
    assert len(times(result, "drive")) == 0
    assert len(times(result, "strong")) == 5
    apical = {c: result["voltage"]["V_m_apical"].sel(condition=c).values.ravel() * 1e3
              for c in ("both", "drive")}
    assert apical["both"].max() == pytest.approx(11.8, abs=0.2)
    assert (apical["both"] > -38).sum() * 0.1 == pytest.approx(60.6, abs=0.3)
    assert apical["drive"].max() == pytest.approx(-54.0, abs=0.05)


def test_rheobases_of_the_interneurons(workdir):
    """Fire just above 200 and 25 pA; SST adapts: fewer spikes than its leak alone would give."""
    assert [n > 0 for n in counts("pv", [199, 202], "200 ms", 0.2)] == [False, True]
    below, above, strong = counts("sst", [25, 27, 100], "500 ms", 0.2)
    assert below == 0
    assert above > 0
    late = (Result("result.h5").spikes["fired"]["time"].values > 0.25).sum()
    assert late <= strong / 3


def test_the_dendrite_predicts_the_soma(workdir):
    """Steady states by hand: V_b = E_L + I/g_L, and a soma without input at the prediction."""
    result = ran("""
kind = "recording"
summary = "A dendritic current, and a somatic one beside it"
on = "urbanczik_senn"
duration = "10 s"
numerics = { method = "rk2", dt = "0.5 ms" }
stimuli.b = { type = "step", at = "basal", amplitude = "450 pA" }
stimuli.s = { type = "step", at = "soma", amplitude = "{soma}" }
over.soma = ["0 nA", "3.15 nA"]
record.fired = { what = "spikes" }
[record.state]
what = ["V_m_basal", "V_m_soma", "V_predicted", "rate", "prediction", "slope"]
every = "1 s"
""")
    state = {k: result["state"][k].values[-1, :, 0] for k in ("V_m_basal", "V_m_soma",
             "V_predicted", "rate", "prediction", "slope")}
    np.testing.assert_allclose(state["V_m_basal"] * 1e3, -70 + 450 / 30, atol=1e-6)
    predicted = -70 + 600 / 630 * 15
    np.testing.assert_allclose(state["V_predicted"] * 1e3, predicted, atol=1e-6)
    np.testing.assert_allclose(state["V_m_soma"] * 1e3, [predicted, predicted + 5], atol=1e-6)

    def phi(V):
        return 1 / (1 + 0.5 * np.exp((-55 - V) / 3))

    np.testing.assert_allclose(state["rate"], phi(predicted + np.array([0, 5])), rtol=1e-9)
    np.testing.assert_allclose(state["prediction"], phi(predicted), rtol=1e-9)
    h = (np.log(phi(predicted + 1e-4)) - np.log(phi(predicted - 1e-4))) / 2e-7
    np.testing.assert_allclose(state["slope"], h, rtol=1e-6)
    spikes = result.spikes["fired"]
    for condition, rate in zip(("soma=0 nA", "soma=3.15 nA"), state["rate"], strict=True):
        n = (spikes["condition"].values == condition).sum()
        p = rate * 0.075  # in each step of 0.5 ms that is not dead; five are, after each spike
        mean = 10 / (0.0005 / p + 0.0025)
        assert n == pytest.approx(mean, abs=4 * np.sqrt(mean))


def test_shipped_cells_state_their_departures():
    for name in ("aeif", "naud_sprekeler", "pv", "sst", "urbanczik_senn"):
        cell = load(name, "cell")
        assert cell.references and cell.departures
