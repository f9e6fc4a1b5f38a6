"""What is kept of a recording, how large it will be, and what a target refuses to run."""

import ast
import collections
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from dfc_neuro.brian import recording
from dfc_neuro.brian.monitors import reduced
from dfc_neuro.cli import main
from dfc_neuro.errors import EngineError, ResultsError
from dfc_neuro.kernels.text import Text, distance, source
from dfc_neuro.results import _size, announce
from dfc_neuro.run import run

CIRCUIT = """
kind = "circuit"
summary = "Three passive cells"
populations.all = { n = 3, cell = "pyramidal_escape" }
"""
KEPT = """
kind = "recording"
summary = "The same voltages, whole and reduced"
on = "./c.toml"
duration = "21 ms"
numerics = { method = "rk2", dt = "0.1 ms", target = "numpy" }
stimuli.noise = { type = "white", at = "all.soma", sigma = "40 pA*ms**0.5", mean = "100 pA" }
[conditions]
one = {}
two = { "stimuli.noise.mean" = "0 pA" }
[record]
whole = { what = ["V_m_soma", "V_m_apical"] }
units = { what = ["V_m_soma", "V_m_apical"], every = "1 ms", reduce = { units = "mean" } }
time  = { what = ["V_m_soma", "V_m_apical"], every = "2 ms", reduce = { time = "max" } }
[record.both]
what = "V_m_soma"
units = [0, 2]
every = "2 ms"
reduce = { time = "mean", units = "min" }
"""


def ran(**keys):
    with open("c.toml", "w", encoding="utf-8") as file:
        file.write(CIRCUIT)
    with open("p.toml", "w", encoding="utf-8") as file:
        file.write(KEPT)
    return run("./p.toml", out="result.h5", seed=1, keys=keys, force=True, progress=False)


@pytest.mark.parametrize("chunk", [recording.CHUNK_BYTES, 20_000])
def test_reductions_are_those_of_the_whole(chunk, workdir, monkeypatch):
    monkeypatch.setattr(recording, "CHUNK_BYTES", chunk)
    result = ran()
    for variable in ("V_m_soma", "V_m_apical"):
        whole = result["whole"][variable].values
        assert whole.shape == (210, 2, 3)
        units = result["units"][variable]
        assert units.dims == ("time", "condition") and units.units == "volt"
        np.testing.assert_allclose(units.values, whole[::10].mean(axis=2), rtol=1e-14)
        windows = [whole[k:k + 20].max(axis=0) for k in range(0, 210, 20)]
        np.testing.assert_array_equal(result["time"][variable].values, windows)
    np.testing.assert_allclose(result["time"]["V_m_soma"].coords["time"], np.arange(11) * 2e-3)
    whole = result["whole"]["V_m_soma"].values[:, :, [0, 2]]
    expected = [whole[k:k + 20].mean(axis=0).min(axis=1) for k in range(0, 210, 20)]
    np.testing.assert_allclose(result["both"]["V_m_soma"].values, expected, rtol=1e-14)


def test_a_short_last_window():
    values = np.arange(7.0)[:, None]
    assert reduced(values, "mean", 3).ravel().tolist() == [1, 4, 6]
    assert reduced(values, "sum", 3).ravel().tolist() == [3, 12, 6]
    assert reduced(values, "min", 3).ravel().tolist() == [0, 3, 6]
    assert reduced(values[:0], "max", 3).shape == (0, 1)


def test_the_size_is_said_and_is_that_of_the_numbers(workdir, caplog):
    caplog.set_level("INFO")
    result = ran()
    whole = sum(result[n][v].values.nbytes for n in ("whole", "units", "time", "both")
                for v in result[n])
    said, = [r.message for r in caplog.records if r.message.startswith("records ")]
    number, unit = said.removeprefix("records ").split()
    assert unit == "kB" and float(number) * 1e3 == pytest.approx(whole, rel=0.02)


def test_what_does_not_fit_is_refused(monkeypatch, tmp_path):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2e9, 0, 1e9))
    monkeypatch.setattr(_size, "available_memory", lambda: 1e9)
    announce(tmp_path / "new" / "a.h5", 0.4e9, "p.toml", 0.9e9)
    with pytest.raises(ResultsError, match=r"p.toml: record: asks for 600 MB, twice that .* "
                                           r"1 GB are free at .*reduce.*-o"):
        announce(tmp_path / "new" / "a.h5", 0.6e9, "p.toml")
    with pytest.raises(ResultsError, match=r"asks for 1\.1 GB of memory, and 1 GB are available"):
        announce(tmp_path / "a.h5", 0.1e9, "p.toml", 1.1e9)
    assert _size.size(512) == "512 bytes" and _size.size(3.2e15) == "3,200.0 TB"


def test_memory_that_is_available():
    assert 1e7 < _size.available_memory() < 1e14


@pytest.fixture
def refusal(workdir):
    """Return a function that runs a protocol from the shell and returns its one message."""
    def call(*sets, protocol=KEPT, circuit=CIRCUIT):
        for name, text in (("c.toml", circuit), ("p.toml", protocol)):
            with open(name, "w", encoding="utf-8") as file:
                file.write(text)
        sets = [part for one in sets for part in ("--set", one)]
        done = CliRunner().invoke(main, ["run", "./p.toml", "-o", "out.h5", *sets])
        assert done.exit_code == 2, done.output
        assert not (workdir / "out.h5").exists() and not (workdir / "out.h5.partial").exists()
        message, = [x for x in done.stderr.splitlines() if x.startswith("dfc-neuro: ")]
        return message

    return call


@pytest.mark.parametrize(("sets", "parts"), [
    (["record.time.reduce.time=most"], ["p.toml: record.time.reduce.time", "most", "'max'"]),
    (["record.time.reduce={}"], ["record.time.reduce", "reduces nothing", 'units = "mean"']),
    (["record.time.reduce.tim=max"], ["unknown key 'tim'", "did you mean 'time'"]),
    (['record.whole={what="V_m_soma", reduce={time="max"}}'],
     ["record.whole", "reduce.time: needs every"]),
    (['record.whole={what="spikes", reduce={units="max"}}'],
     ["record.whole", "spikes are not reduced"]),
    (["record.time.every=0.25 ms"], ["record.time.every", "0.25 ms is no multiple of dt"]),
    (["duration=1e9 s"], ["p.toml: record", "asks for", "are free at", "every", "reduce"]),
])
def test_recordings_that_cannot_be(refusal, sets, parts):
    message = refusal(*sets)
    assert all(part in message for part in parts), message


BARE = """
kind = "recording"
summary = "Nothing happens"
on = "./c.toml"
duration = "1 ms"
numerics = { dt = "0.1 ms", target = "numba" }
"""
OF = 'kind = "circuit"\nsummary = "Three"\npopulations.all = { n = 3, cell = "%s" }\n'
LINKED = OF % "rc3" + """
populations.in = { n = 3, source = "spikes" }
projections.W1 = { from = "in.spikes", to = "all.soma", synapse = "gaba_a", scale = "1 nS" }
"""


@pytest.mark.parametrize(("circuit", "sets", "parts"), [
    (OF % "rc3", ["numerics.method=heun"], ["numerics.method", "'heun'", "one of euler, rk2"]),
    (OF % "naud_sprekeler", [], ["p.toml: numerics.target", "resets nothing", "has spike.reset"]),
    (OF % "aeif", [], ["holds no refractory cell", "aeif.toml", 'target = "auto"']),
    (LINKED, [], ["cells that nothing connects", "the projection 'W1'", 'target = "auto"']),
    (LINKED.partition("projections")[0], [], ["the source 'in'", 'target = "auto"']),
])
def test_numba_names_what_it_does_not_run(refusal, circuit, sets, parts):
    message = refusal(*sets, protocol=BARE, circuit=circuit)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(("text", "found"), [
    ("-v + rand()", r"rc.toml: target 'numba' does not compute rand\(\); set numerics.target"),
    ("-v + i", "rc.toml: target 'numba' does not know 'i'"),
])
def test_text_that_no_kernel_computes(text, found):
    tree = ast.parse(text, mode="eval").body
    with pytest.raises(EngineError, match=found):
        source(Text({"v": tree}), "rk4", "rc.toml")


def test_a_condition_that_is_no_threshold():
    with pytest.raises(EngineError, match=r"cannot time 'v > 1 and v < 2'; write one comparison"):
        distance(ast.parse("v > 1 and v < 2", mode="eval").body, "rc.toml: spike.when")


@pytest.mark.parametrize(("sets", "parts"), [
    ([], ["stimuli.noise.type", "'white'", "'cpp_standalone'", "step, pulse, epsc", "auto"]),
    (['stimuli.noise={type="clamp", at="all.soma", voltage="-60 mV"}', "conditions.two={}"],
     ["stimuli.noise.type", "'clamp'"]),
])
def test_a_program_names_what_it_does_not_run(refusal, sets, parts):
    protocol = KEPT.partition("[conditions]")[0] + "[conditions]\none = {}\n"
    message = refusal("numerics.target=cpp_standalone", *sets[:1], protocol=protocol)
    assert all(part in message for part in parts), message


def test_a_program_has_nothing_to_resume_and_must_fit_in_memory(refusal, monkeypatch):
    protocol = BARE.replace("numba", "cpp_standalone") + 'record.v = { what = "V_m_soma" }\n'
    monkeypatch.setattr(_size, "available_memory", lambda: 100.0)
    message = refusal(protocol=protocol, circuit=OF % "pyramidal_escape")
    assert "asks for 720 bytes of memory, and 100 bytes are available" in message
    done = CliRunner().invoke(main, ["run", "./p.toml", "-o", "out.h5", "--resume"])
    assert done.exit_code == 2
    assert "--resume: p.toml runs whole" in done.stderr and 'target = "auto"' in done.stderr
