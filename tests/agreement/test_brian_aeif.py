"""The cell of voltage-based plasticity beside NEST's, spike by spike."""

import numpy as np
import pytest

from dfc_neuro import brian
from dfc_neuro.errors import ModelError
from dfc_neuro.files import resolve
from dfc_neuro.files.load import load
from dfc_neuro.results import Result, Writer

PROTOCOL = """
kind = "recording"
summary = "Currents into the soma"
on = "aeif"
duration = "299 ms"
numerics = { method = "rk4", dt = "0.05 ms" }
plastic.test = { at = "soma", rule = "clopath", w = 0.5 }
stimuli.step = { type = "step", at = "soma", amplitude = "{current}" }
over.current = ["500 pA", "650 pA", "1000 pA"]
record.voltage = { what = ["V_m", "w_ad"] }
record.rule = { what = "u_minus", of = "test" }
record.fired = { what = "spikes" }
"""
# NEST 3.10, aeif_psc_delta_clopath, resolution 0.01 ms, gsl_error_tol 1e-9, with V_reset -49.6,
# V_th_max -30.4, V_peak 20, V_clamp 33, t_clamp 2, b 80.5, V_m -70.6 and I_e as in the protocol
NEST = {
    "500 pA": [],
    "650 pA": [31.63, 258.62],
    "1000 pA": [11.80, 29.67, 51.45, 78.81, 113.60, 156.16, 204.12, 254.63],
}
LAST = {"V_m": [-55.54660, -47.89336, -41.04420], "u_minus": [-55.52661, -46.59484, -41.15729],
        "w_ad": [53.491, 151.206, 317.817]}  # mV, mV, pA, after 299 ms
MEAN = [-55.37995, -47.90670, -37.54188]  # of V_m, mV


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("aeif")
    (path / "p.toml").write_text(PROTOCOL, encoding="utf-8")
    protocol = resolve.protocol(path / "p.toml")
    with Writer(path / "r.h5", {"seed": 1}) as writer:
        brian.record(protocol, writer, 1, progress=False)
    return Result(path / "r.h5")


def test_spikes_are_those_of_nest(result):
    spikes = result.spikes["fired"]
    for current, expected in NEST.items():
        found = spikes["time"].values[spikes["condition"].values == f"current={current}"] * 1e3
        assert len(found) == len(expected)
        # a spike is seen at the end of a step: each interval may be longer by up to one; one that
        # creeps to threshold by more
        np.testing.assert_allclose(np.diff(found, prepend=0), np.diff(expected, prepend=0),
                                   atol=0.055, rtol=1e-3)


def test_voltage_adaptation_and_filter_are_those_of_nest(result):
    """The mean voltage holds the 2 ms that a spike lasts; the rule's filter sees them."""
    voltage, rule = result["voltage"], result["rule"]
    V = voltage["V_m"].values[:, :, 0] * 1e3
    np.testing.assert_allclose(V.mean(axis=0), MEAN, atol=0.1)
    np.testing.assert_allclose(V[-1], LAST["V_m"], atol=0.15)
    np.testing.assert_allclose(rule["u_minus"].values[-1, :, 0] * 1e3, LAST["u_minus"], atol=0.15)
    np.testing.assert_allclose(voltage["w_ad"].values[-1, :, 0] * 1e12, LAST["w_ad"], rtol=5e-3)


def test_a_spike_is_held_and_then_released(result):
    V = result["voltage"]["V_m"].values[:, 2, 0] * 1e3
    held = np.flatnonzero(V == 33.0)
    runs = np.split(held, np.flatnonzero(np.diff(held) > 1) + 1)
    # two samples more or less than 2 ms / dt would be another spike
    assert {len(run) for run in runs} == {40}
    after = V[[run[-1] + 1 for run in runs]]
    np.testing.assert_allclose(after, -49.6, atol=1.5)  # one step after the reset to -49.6 mV


def test_a_release_needs_a_dead_time(workdir):
    text = load("aeif", "cell").path.read_text(encoding="utf-8")
    with open("cell.toml", "w", encoding="utf-8") as file:
        file.write(text.replace('refractory = "t_spike"', ""))
    with pytest.raises(ModelError, match=r"spike\.release: the cell is never refractory"):
        load("./cell.toml", "cell")
