"""The command: what it prints, and its exit statuses."""

import re
from importlib import import_module

import click
import numpy as np
import pytest
from click.testing import CliRunner

import dfc_neuro as dn
from dfc_neuro import registry
from dfc_neuro.cli import LISTED, main
from dfc_neuro.errors import NumericalError, ProtocolError
from dfc_neuro.files import library
from dfc_neuro.results import Writer


def call(*words):
    """Return exit status, output and message of a call."""
    done = CliRunner().invoke(main, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output
    return done.exit_code, done.stdout, done.stderr


def test_help_names_every_command():
    code, out, _ = call("--help")
    assert code == 0
    for name in main.commands:
        assert re.search(rf"^  {name} ", out, flags=re.MULTILINE)
    for name, command in main.commands.items():
        code, out, _ = call(name, "--help")
        assert code == 0 and command.help.splitlines()[0][:40] in out


def test_version():
    assert call("--version")[1] == f"dfc-neuro, version {dn.__version__}\n"


@pytest.mark.parametrize("kind", LISTED)
def test_list_has_a_line_for_each(kind):
    code, out, _ = call("list", kind)
    names = [line.split()[0] for line in out.splitlines()]
    assert code == 0
    if kind in ("methods", "datasets"):
        assert names == list(registry.names(kind))
    elif kind != "figures":
        assert names == library.names(kind.removesuffix("s"))
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in out.splitlines())


def test_list_of_everything_has_every_kind():
    out = call("list")[1]
    assert [line[:-1] for line in out.splitlines() if not line.startswith(" ")] == list(LISTED)


def test_check_reports_every_file(workdir):
    (workdir / "good.toml").write_text(library.find("pi_leaky").read_text())
    (workdir / "bad.toml").write_text('kind = "cell"\nsummary = "x"\n')
    code, out, err = call("check", "good.toml", "bad.toml", "clopath")
    assert code == 2
    assert out == "good.toml: controller, well\nclopath: rule, well\n"
    assert err == "dfc-neuro: bad.toml: equations: is missing; also compartments: is missing\n"
    assert call("check", "good.toml")[0] == 0


@pytest.mark.parametrize(("name", "shown"), [
    ("pyramidal_escape", ["I_soma = I_soma_attached : amp", "C_m            100 pF",
                          "spikes when rand() < r_max", "k_basal        0.181818 "]),
    ("clopath", ["on_pre:  x_pre += 1 / tau_x", "w in [0, 3]", "doi:10.1038/nn.2479",
                 "the homeostatic factor"]),
    ("gaba_a", ["current = g * (E_rev - V)", "E_rev  -80 mV"]),
    ("pi_leaky", ["du_int/dt = (error - alpha * u) / tau_u : 1"]),
    ("dfc_layered", ["hidden: 100 x pyramidal_rate", "W2: output.basal <- hidden.rate"]),
    ("quickstart", ['method = "dfc"', "hidden2: 128 x pyramidal_rate", "epochs = 30"]),
    ("clopath_clamp", ["16 conditions: voltage=-80 mV; "]),
])
def test_show(name, shown):
    code, out, _ = call("show", name)
    assert code == 0
    assert out.startswith(f"{name}: ")
    for text in shown:
        assert text in out


@pytest.mark.parametrize(("words", "message"), [
    (["lst"], "unknown command 'lst'; did you mean 'list'?"),
    (["run"], "Missing argument 'PROTOCOL'"),
    (["run", "quickstart", "--sed", "1"], "--sed"),
    (["run", "quickstart", "--seed", "x"], "'x' is not a valid integer"),
    (["run", "quickstart", "--seed", "-1"], "-1"),
    (["run", "quickstrt"], "unknown protocol; did you mean 'quickstart'?"),
    (["run", "clopath"], "unknown protocol"),
    (["run", "quickstart", "--set", "method"], "write --set KEY=VALUE"),
    (["run", "quickstart", "--set", "method=dfx"], "unknown method 'dfx'; did you mean 'dfc'?"),
    (["run", "quickstart", "--set", "a.b=1"], "--set a.b: unknown key 'a.b'"),
    (["run", "quickstart", "--set", "on=x", "--set", "on=y"], "--set on: is given twice"),
    (["run", "quickstart", "--resume", "--force"], "choose one of the two"),
    (["figure"], "Missing argument"),
    (["figure", "x", "--format", "bmp"], "--format: found 'bmp'; allowed are pdf, svg, png"),
    (["list", "cell"], "unknown kind 'cell'; did you mean 'cells'?"),
    (["check"], "Missing argument"),
    (["show", "pyramidal_escap"], "did you mean 'pyramidal_escape'?"),
    (["show", "nothing.h5"], "nothing.h5: "),
    (["verify", "nothing.h5"], "nothing.h5: "),
    (["doctor", "extra"], "extra"),
])
def test_mistakes_are_one_message_and_status_2(words, message, workdir):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert message in err and err.startswith("dfc-neuro: ")
    assert len(err.splitlines()) == 1
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize(("error", "code", "message"), [
    (NumericalError("layer 2 left its bounds at 3 ms"), 1, "layer 2 left its bounds at 3 ms"),
    (ProtocolError("x.toml: on", "is wrong", "write y"), 2, "x.toml: on: is wrong; write y"),
    (KeyboardInterrupt(), 130, "stopped"),
    (OSError(28, "No space left on device", "run.h5"), 1, "run.h5: No space left on device"),
    (click.UsageError("one\nof these"), 2, "one"),
])
def test_what_a_run_raises_becomes_a_status(monkeypatch, error, code, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(import_module("dfc_neuro.run"), "run", fail)
    found, _, err = call("run", "quickstart")
    assert found == code
    assert f"dfc-neuro: {message}" in err


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(import_module("dfc_neuro.run"), "run", fail)
    assert isinstance(CliRunner().invoke(main, ["run", "quickstart"]).exception, ZeroDivisionError)


def test_run_hands_on_what_was_asked(monkeypatch, workdir):
    seen = {}

    def record(protocol, **arguments):
        seen.update(arguments, protocol=protocol)
        raise ProtocolError("here", "enough")

    monkeypatch.setattr(import_module("dfc_neuro.run"), "run", record)
    call("run", "quickstart", "-o", "x.h5", "--seed", "3", "--set", "a.b=[1, 2]",
         "--set", "c=word", "--quick", "--resume")
    assert seen == {"protocol": "quickstart", "out": "x.h5", "seed": 3, "quick": True,
                    "resume": True, "force": False, "keys": {"a.b": [1, 2], "c": "word"}}


def test_doctor_says_what_is_here_and_what_is_missing(monkeypatch):
    code, out, _ = call("doctor")
    assert code == 0 and "all that a run needs is here" in out
    for name in ("brian2", "numba", "compiler", "threads", "Brian2 target", "kernel cache",
                 "models/cells"):
        assert re.search(rf"^{name} +\S", out, flags=re.MULTILINE), name

    from dfc_neuro import doctor

    installed = doctor._installed
    monkeypatch.setattr(doctor, "_installed", lambda p: "" if p == "numba" else installed(p))
    code, out, _ = call("doctor")
    assert code == 1 and "MISSING        numba: pip install numba" in out


def test_the_package_offers_functions_under_the_names_of_modules():
    assert dn.run is import_module("dfc_neuro.run").run
    assert dn.load("clopath").name == "clopath"
    assert {"run", "load", "Result", "plot"} <= set(dir(dn))
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = dn.rum


def written(path, name, measures, **header):
    """Write a small result file of a protocol."""
    source = library.find(name).read_text()
    with Writer(path, {"name": name, "protocol": source, "model": "", "seed": 7, **header}) as file:
        for key, (values, dims, units, coords) in measures.items():
            file.put(f"measures/{key}", values, dims, units, coords)
        file.finish()


def test_show_prints_what_ran_and_its_numbers(workdir):
    written("learned.h5", "quickstart", {"test_error": (np.array(0.0222), (), "1", None),
                                         "angle_gn": (np.array(31.4159), (), "degree", None)},
            kind="learning", method="dfc")
    code, out, _ = call("show", "learned.h5")
    assert code == 0
    shown = [line.rstrip() for line in out.splitlines()]
    for line in ("  seed         7", "  method       dfc", "test error 2.2 %",
                 "angle gn 31.42 degree"):
        assert line in shown
    assert any(line.startswith('  on = "dfc_layered"') for line in shown)

    labels = np.array(["BAP", "BAC"], dtype=object)
    written("recorded.h5", "escape_step", {
        "peak": (np.array([-0.05, 0.01]), ("condition",), "volt", {"condition": (labels, "")}),
        "spike_count": (np.array([3]), ("condition",), "1", {"condition": (labels[:1], "")})},
        kind="recording")
    out = call("show", "recorded.h5")[1]
    assert "peak, BAP: -0.05 volt\npeak, BAC: 0.01 volt\nspike count 3\n" in out
