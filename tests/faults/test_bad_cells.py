"""Mistakes about cells, their compartments and their step: one message with file and key."""

import pytest
from click.testing import CliRunner

from dfc_neuro.cli import main


def refused(protocol, *sets, status=2):
    """Return the one message with which a run is refused."""
    arguments = ["run", protocol, "-o", "result.h5"]
    for one in sets:
        arguments += ["--set", one]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == status, done.output
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("dfc-neuro: ")]
    assert "Traceback" not in done.output
    return message.removeprefix("dfc-neuro: ")


@pytest.mark.parametrize(("protocol", "sets", "place", "found", "remedy"), [
    # a compartment that is not there
    ("bac_firing", ["stimuli.epsc.at=apicl"], "bac_firing.toml: stimuli.epsc.at", "'apicl'",
     "did you mean 'apical'?"),
    ("pinsky_rinzel_bursts", ["stimuli.step.at=apical"], "bursts.toml: stimuli.step.at", "'apical'",
     "dendrite, soma"),
    ("bac_firing", ['record.voltages.what=["V_m_apex"]'], "bac_firing.toml: record.voltages.what",
     "'V_m_apex'", "'V_m_apical'"),
    # a current where a conductance is meant, and the other way round
    ("bac_firing", ["parameters.g_Ca=19 pA"], "l5_3c.toml: parameters.g_Ca", "'19 pA', whose",
     "'I_Ca' is in watt, amp is needed"),
    ("rc3_steps", ["parameters.gbar_Na=120 nS"], "rc3.toml: parameters.gbar_Na", "'120 nS', whose",
     "'I_Na' is in metre**2*amp, amp is needed"),
    ("bac_firing", ["stimuli.pulse.amplitude=2 nS"], "bac_firing.toml: stimuli.pulse.amplitude",
     "'2 nS'", "amp is needed"),
    ("pinsky_rinzel_bursts", ["stimuli.step.amplitude=0.75 nA"],
     "pinsky_rinzel_bursts.toml: stimuli.step.amplitude", "'0.75 nA'", "amp/metre**2 is needed"),
    # integrators
    ("rc3_steps", ["numerics.method=exact"], "rc3_steps.toml: numerics.method", "'exact'", "rk4"),
])
def test_a_run_that_cannot_be(workdir, protocol, sets, place, found, remedy):
    message = refused(protocol, *sets)
    for part in (place, found, remedy):
        assert part in message, message


@pytest.mark.parametrize(("protocol", "cell", "sets"), [
    ("rc3_steps", "rc3", ["stimuli.soma.from=5 ms", "stimuli.apical.from=5 ms"]),
    ("bac_firing", "l5_3c", ["stimuli.pulse.start=5 ms", "stimuli.epsc.start=5 ms"]),
])
def test_a_step_too_coarse_for_the_cell(workdir, protocol, cell, sets):
    message = refused(protocol, *sets, "numerics.dt=0.2 ms", "duration=20 ms", status=1)
    assert f"{cell}.toml: V_m_" in message and "compartment of unit 0 of 'cell'" in message
    assert " ms; lower numerics.dt" in message and "between " in message
