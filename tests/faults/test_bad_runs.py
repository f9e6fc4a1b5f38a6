"""Runs that cannot be: one message that names place and remedy, status 2, nothing overwritten."""

import os
import tomllib

import pytest
import tomli_w
from click.testing import CliRunner

from dfc_neuro.cli import main


@pytest.fixture
def refused(data, workdir):
    """Return a function that runs the tiny protocol and expects one message and status 2."""
    precious = b"a result that must stay"

    def call(*sets, protocol=data / "tiny.toml", out="precious.h5", status=2):
        path = workdir / "precious.h5"
        path.write_bytes(precious)
        arguments = ["run", str(protocol), "-o", out, "--force"]
        for one in sets:
            arguments += ["--set", one]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == status, done.output
        assert path.read_bytes() == precious
        assert sorted(os.listdir(workdir)) == ["precious.h5"]
        (message,) = [line for line in done.stderr.splitlines() if line.startswith("dfc-neuro: ")]
        assert "Traceback" not in done.output and done.stdout == ""
        return message.removeprefix("dfc-neuro: ")

    return call


@pytest.mark.parametrize(("sets", "place", "found", "remedy"), [
    # sizes and data
    (["layers=[63,12,10]"], "tiny.toml: layers", "63 inputs, the data 64", "use layers = [64, 12,"),
    (["layers=[64,12,9]"], "tiny.toml: layers", "9 outputs, the data 10", "use layers = [64, 12,"),
    (["layers=[64]"], "layers", "found [64]", "give at least two sizes"),
    (["layers=[64,0,10]"], "layers", "found 0", "greater than 0"),
    (["data.name=digit"], "data.name", "unknown dataset 'digit'", "did you mean 'digits'?"),
    (["data.loss=mse"], "data.loss", "'mse' does not fit", "it takes cross_entropy"),
    (["data.batsh=3"], "data, batsh", "no such option", "did you mean 'batch'?"),
    (["data.batch=0"], "data.batch", "found 0", "give a positive whole number"),
    (["data.batch=2.5"], "data.batch", "found 2.5", "give a positive whole number"),
    (["data.target_stepsize=-0.1"], "data.target_stepsize", "found -0.1", "give a positive number"),
    (["data.test=1797"], "data, test", "1797 of 1797 samples", "so does training"),
    # constants
    (["cells.tau_v=-0.2"], "parameters.tau_v", "found '-0.02", "a time constant is positive"),
    (["cells.tau_v=20 mV"], "parameters.tau_v", "'20 mV'", "time"),
    (["phases.control.cells.tau_v=0"], "phases.control", "found '0.0 second'",
     "a time constant is positive"),
    (["phases.feedback.cells.tau_A=-0.3"], "phases.feedback", "parameters.tau_A",
     "a time constant is positive"),
    (["controllers.control.tau_u=0"], "controllers.control", "tau_u", "positive"),
    (["numerics.dt=0"], "numerics.dt", "found 0", "a time step is positive"),
    (["numerics.dt=nan"], "numerics.dt", "found nan", "a finite number is needed"),
    (["phases.feedback.numerics.dt=-1"], "phases.feedback", "found -1", "step is positive"),
    (["phases.feedback.noise=-0.1"], "phases.feedback.noise", "found -0.1", "greater than"),
    (["phases.control.duration=0.01"], "phases.control.duration", "holds 0.2 steps of dt = 0.05",
     "give from 2"),
    (["phases.control.duration=inf"], "phases.control.duration", "holds inf steps", "give from 2"),
    (["schedule.epochs=-1"], "schedule.epochs", "found -1", "greater than or equal to 0"),
    (["numerics.threads=0"], "numerics.threads", "found 0", "greater than 0"),
    (["numerics.precision=float16"], "numerics.precision", "found 'float16'", "'float64'"),
    (["numerics.integrator=rk4"], "numerics.integrator", "found 'rk4'", "'euler'"),
    (["numerics.integrator=fast", "phases.control.transmission=delayed"],
     "phases.control.transmission", "a delay of one step", "take the integrator euler"),
    # names
    (["method=dfcc"], "tiny.toml: method", "unknown method 'dfcc'", "did you mean 'dfc'?"),
    (["feedback=lerned"], "tiny.toml: feedback", "found 'lerned'", "'learned'"),
    (["optimisers.W.name=adamm"], "optimisers.W.name", "unknown optimiser 'adamm'",
     "did you mean 'adam'?"),
    (["optimisers.W.lr=-1"], "tiny.toml: optimisers.W.lr", "is -1", "not negative"),
    (["optimisers.W.beta=[0.9, 0.9]"], "optimisers.W.beta", "unknown option",
     "did you mean 'betas'?"),
    (["optimisers.Q.clip=everything"], "tiny.toml: optimisers.Q.clip", "is 'everything'",
     "allowed are each, global, none"),
    (["projections.W1.w=xavier"], "projections.W1.w", "unknown initialiser 'xavier'",
     "did you mean 'xavier_normal'?"),
    (['record.epochs.what=["los"]'], "tiny.toml: record.epochs.what", "unknown diagnostic 'los'",
     "did you mean 'loss'?"),
    (['record.epochs.what=["condition_3"]'], "record.epochs.what", "'condition_3'",
     "did you mean 'condition_"),
    (['record.voltages.what=["v_somaa"]'], "record.voltages.what", "records no 'v_somaa'",
     "v_soma"),
    (["diagnostics.gama=1"], "diagnostics.gama", "unknown key", "did you mean 'gamma'?"),
    (["phases.control.proactiv=true"], "phases.control", "unknown key 'proactiv'",
     "did you mean 'proactive'?"),
    (["phases.contrl.proactive=true"], "phases.contrl", "there is no phase 'contrl'",
     "did you mean 'control'?"),
    (["phases.control.cells.tau_w=1"], "phases.control", "no cell has this parameter",
     "did you mean 'tau_v'?"),
    (['schedule.epoch=["contrl"]'], "schedule", "unknown phase 'contrl'", "did you mean 'control'"),
    (["phases.feedback.target=loss"], "phases.feedback.target", "is the loss", "own_output"),
    (["phases.control.learn=V"], "phases.control.learn", "found 'V'", "'W' or 'Q'"),
    (["on=dfc_layer"], "tiny.toml: on", "unknown circuit or cell 'dfc_layer'",
     "did you mean 'dfc_layered'?"),
    (["on=pyramidal_rate"], "tiny.toml: on", "is a cell", "runs on a circuit"),
    (["projections.W1.rule=dfc_forwrd"], "projections.W1.rule", "'dfc_forwrd'", "'dfc_forward'"),
    (["projections.W1.rule=clopath"], "projections.W1.rule", "reads V in volt", "cells that do"),
    # what this engine does not do
    (["numerics.engine=brian"], "numerics.integrator", "is of the rate engine",
     'numerics.engine = "rates"'),
    (["projections.W1.delay=2 ms"], "projections.W1", "has a connect, synapse or delay",
     "engine 'brian' runs any circuit"),
    (["cells.g_apical=2"], "parameters.g_apical", "is 2", "engine 'brian' runs any text"),
])
def test_one_message(refused, sets, place, found, remedy):
    message = refused(*sets)
    assert place in message and found in message and remedy in message


def test_missing_data_folder(refused, data, workdir):
    table = tomllib.loads((data / "tiny.toml").read_text())
    table["data"] = {k: table["data"][k] for k in ("batch", "loss", "target_stepsize")} | {
        "name": "mnist", "folder": str(workdir / "nowhere")}
    table["layers"] = [784, 12, 10]
    protocol = workdir.parent / "mine.toml"
    protocol.write_text(tomli_w.dumps(table))
    message = refused(protocol=protocol)
    assert "mine.toml: data" in message and str(workdir / "nowhere") in message


def test_missing_optimiser(refused, data, workdir):
    table = tomllib.loads((data / "tiny.toml").read_text())
    del table["optimisers"]["Q"]
    protocol = workdir.parent / "mine.toml"
    protocol.write_text(tomli_w.dumps(table))
    assert "mine.toml: optimisers.Q: is missing; for instance Q = {" in refused(protocol=protocol)


@pytest.mark.parametrize("out", ["precious.h5/run.h5", "."])
def test_output_that_cannot_be_written(refused, out):
    message = refused(out=out)
    assert message.startswith(out)
    assert "-o" in message


def test_unwritable_kernel_cache(refused, data, workdir, monkeypatch):
    from dfc_neuro import generated

    monkeypatch.setenv("DFC_NEURO_CACHE", str(workdir / "precious.h5"))
    generated.module.cache_clear()
    try:
        message = refused()
    finally:
        generated.module.cache_clear()
    assert "kernels: cannot be written" in message and "set DFC_NEURO_CACHE to a folder" in message


def test_a_run_that_blows_up_is_not_an_input_error(refused):
    """Status 1, and the message says where and when."""
    message = refused("feedback=fixed", "numerics.bound=1e-3", status=1)
    assert "layer" in message and "at time" in message and "numerics.bound" in message
