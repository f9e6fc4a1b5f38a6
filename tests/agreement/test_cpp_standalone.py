"""A circuit as one C++ program: the numbers of the same circuit run step by step."""

import logging
import shutil

import brian2 as b2
import numpy as np
import pytest
from brian2.devices.device import runtime_device

from dfc_neuro.brian import whole
from dfc_neuro.errors import NumericalError
from dfc_neuro.run import run

CIRCUIT = """
kind = "circuit"
summary = "Cells that reset, excited by given spikes, inhibiting passive ones with a delay"
[populations]
given = { n = 4, source = "spikes" }
first = { n = 4, cell = "naud_sprekeler" }
second = { n = 3, cell = "rc3" }
[projections.in]
from = "given.spikes"
to = "first.soma"
synapse = "ampa"
scale = "10 nS"
connect = "one_to_one"
[projections.inhibit]
from = "first.spikes"
to = "second.soma"
synapse = "gaba_a"
w = "xavier_normal"
scale = "20 nS"
delay = "1 ms"
"""
PROTOCOL = """
kind = "recording"
summary = "Steps, an EPSC and spikes in two conditions that run side by side"
on = "./c.toml"
duration = "30 ms"
numerics = { method = "rk4", dt = "0.05 ms" }
[stimuli]
step  = { type = "step", at = "first.soma", amplitude = "{current}", from = "2.02 ms" }
train = { type = "spikes", at = "given", times = ["5 ms", "7 ms"] }
[stimuli.epsc]
type = "epsc"
at = "second.apical"
amplitude = "300 pA"
start = "10 ms"
tau_rise = "0.5 ms"
tau_decay = "5 ms"
[over]
current = ["500 pA", "900 pA"]
[record]
first  = { of = "first", what = "spikes" }
second = { of = "second", what = ["V_m_soma", "I_Na"], every = "0.25 ms" }
[record.mean]
of = "second"
what = "V_m_apical"
every = "1 ms"
reduce = { time = "max", units = "mean" }
"""


def written():
    for name, text in (("c.toml", CIRCUIT), ("p.toml", PROTOCOL)):
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)


def ran(target, **keys):
    return run("./p.toml", out=f"{target}.h5", seed=1, progress=False,
               keys={"numerics.target": target, "numerics.threads": 2, **keys})


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None,
                    reason="there is no C++ compiler")
def test_a_program_gives_the_numbers_of_the_run_by_steps(workdir, caplog):
    written()
    with caplog.at_level(logging.INFO):
        one = ran("cpp_standalone")
    assert any("(cpp_standalone) on 2 threads: it runs whole" in r.message for r in caplog.records)
    assert b2.get_device() is runtime_device
    other = ran("numpy")
    for name in ("second", "mean"):
        for variable in other[name]:
            a, b = one[name][variable], other[name][variable]
            assert a.dims == b.dims and a.units == b.units
            assert list(a.coords["condition"]) == ["current=500 pA", "current=900 pA"]
            np.testing.assert_allclose(a.values, b.values, rtol=0, atol=1e-9 * np.ptp(b.values))
            assert np.abs(b.values[:, 0] - b.values[:, 1]).max() > 1e-3 * np.ptp(b.values)
    for key in ("time", "unit", "condition"):
        a, b = (r.spikes["first"][key].values for r in (one, other))
        assert len(b) > 10
        np.testing.assert_array_equal(a, b)


def test_a_program_whose_states_blow_up_is_an_error(workdir, monkeypatch):
    """The look at its end, without the compiler: a state of the network that would have run."""
    written()

    class Program:
        def __init__(self, *_):
            pass

        def __enter__(self):
            def run(network, seconds):
                next(o for o in network.objects if o.name == "second").V_m_soma = np.nan * b2.volt
            return run

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(whole.device, "program", Program)
    with pytest.raises(NumericalError, match=r"rc3.toml: V_m_soma \(soma compartment of unit 0 of "
                                             r"'second', condition current=500 pA\) is not finite"):
        ran("cpp_standalone")
