"""Wrong model and protocol files: one message with file, key, what was found, what is allowed."""

import copy
import itertools

import pytest

from dfc_neuro.errors import InputError
from dfc_neuro.files import library, resolve
from dfc_neuro.files.load import build, load, read

CELL = library.find("pyramidal_rate").read_text()
ESCAPE = library.find("pyramidal_escape").read_text()
RULE = library.find("clopath").read_text()
CONTROLLER = library.find("pi_leaky").read_text()
SYNAPSE = library.find("gaba_a").read_text()
CIRCUIT = library.find("dfc_layered").read_text()
CLAMP = library.find("clopath_clamp").read_text()
STEP = library.find("escape_step").read_text()
LEARN = library.find("quickstart").read_text()

# text, what is replaced, by what, and what the message says
EDITS = [
    (CELL, 'kind = "cell"', "", "x.toml: kind: is missing"),
    (CELL, 'kind = "cell"', 'kind = "cel"', "kind: found 'cel'; did you mean 'cell'?"),
    (CELL, "summary =", "sumary =", "x.toml: unknown key 'sumary'; did you mean 'summary'?"),
    (CELL, "voltage =", "voltag =", "compartments.basal: unknown key 'voltag'; did you mean"),
    (CELL, '"20 ms"', '"-20 ms"', "parameters.tau_v: found '-20 ms', a time constant is positive"),
    (CELL, '"20 ms"', '"20 mV"', "parameters.tau_v: found '20 mV' in volt, a time constant is a"),
    (CELL, '"20 ms"', '"20 mz"', "parameters.tau_v: found '20 mz': unknown unit 'mz'"),
    (CELL, '"20 ms"', "0.2", "parameters.tau_v: found 0.2, whose unit does not fit equations line"),
    (CELL, '"20 ms"', "nan", "parameters.tau_v: found nan, a finite number is needed"),
    (CELL, '"20 ms"', "true", "parameters.tau_v: found True, a number or a quantity"),
    (CELL, "g_basal = 1", 'g_basal = "1 nS"', "parameters.g_basal: found '1 nS', whose unit does"),
    (CELL, "- v_soma)/tau_v", "- v_some)/tau_v", "equations line 3: unknown name 'v_some'; did"),
    (CELL, "g_apical*I_apical ", "g_apical*3 ", "compartments.apical.input: no equation uses 'I_"),
    (CELL, 'voltage = "v_basal"', 'voltage = "v_bas"', "basal.voltage: 'v_bas' is not in the"),
    (CELL, "phi(v_basal) : 1", "phi(v_basl) : 1", "observables.prediction: unknown name 'v_basl'"),
    (CELL, "phi(v_basal) : 1", "phi(v_basal)", "observables.prediction: found 'phi(v_basal)', the"),
    (CELL, "phi(v_basal) : 1", "phi(v_basal) : volt", "the expression is in 1, volt is needed"),
    (CELL, '"tanh(x)"', '"tanhh(x)"', "unknown function 'tanhh'; did you mean 'tanh'?"),
    (CELL, '"tanh(x)"', '"phi(x)"', "the function 'phi' calls itself"),
    (CELL, "tau_v = ", "lambda = 1, tau_v = ", "parameters.lambda: 'lambda' cannot be a name"),
    (CELL, "tau_v = ", "e = 1, tau_v = ", "parameters.e: 'e' is a constant and cannot be defined"),
    (CELL, "tau_v = ", "ms = 1, tau_v = ", "parameters.ms: 'ms' is a unit and cannot be defined"),
    (CELL, "tau_v = ", "b = 1, tau_v = ", "equations: 'b' is defined in parameters too"),
    (CELL, "I_basal + b", "I_basal + v_basal", "equations: 'v_basal' depends on itself"),
    (ESCAPE, '"100 pF"', '"100 mV"', "parameters.C_m: found '100 mV', whose unit does not fit"),
    (ESCAPE, "I_soma)/C_m : volt", "I_soma)/C_m : amp", "line 1: the terms 'V_m_soma' (amp)"),
    (ESCAPE, "g_L_soma*(E_L", "g_L_soma+(E_L", "equations line 3: the terms 'g_L_soma' (siemens)"),
    (ESCAPE, "r_max*phi(V_m_soma - E_L)*dt", "r_max*dt*mV", "spike.when: the sides 'rand()' (1)"),
    (ESCAPE, 'V_m_soma = "E_L"', 'V_m_soma = "C_m"', "initial.V_m_soma: the expression is in far"),
    (ESCAPE, 'V_m_soma = "E_L"', 'V_soma = "E_L"', "initial.V_soma: there is no such state; did"),
    (ESCAPE, 'k_basal       = "g_b', 'k_basal = "V_m_soma*g_b', "derived.k_basal: unknown name"),
    (ESCAPE, 'gamma         = "1 -', 'gamma = "0*1/(S-S) -', "derived"),
    (RULE, "V = ", "U = ", "post line 1: unknown name 'V'"),
    (RULE, "{ spikes = true }", "{}", "on_pre: the rule does not read pre spikes; write reads.pre"),
    (RULE, "spikes = true", 'spikes = "1"', "reads.pre"),
    (RULE, "A_LTP*x_pre", "A_LTP*x_post", "synapse line 1: unknown name 'x_post'; did you mean"),
    (RULE, '"8e-5 / mV**2"', '"8e-5 / mV"', "parameters.A_LTP: found '8e-5 / mV', whose unit"),
    (RULE, "x_pre += ", "x += ", "on_pre: 'x' is not a state that can be changed here; known: u_"),
    (RULE, "[0, 3]", "[3, 0]", "bounds.w: found [3.0, 0.0]; the lower bound comes first"),
    (RULE, "[0, 3]", '["a", 3]', "bounds.w.0: found 'a'"),
    (RULE, 'u_plus = "V"', 'u_pls = "V"', "initial.u_pls: there is no such state; did you mean"),
    (RULE, "dw/dt = A_LTP", "dw/dt = mV*A_LTP", "synapse line 1: the right side of 'w'"),
    (RULE, 'on_pre  = ["w -=', 'on_pre  = ["x_pre -=', "the change of 'x_pre' is in 1"),
    (CONTROLLER, "k_p*error", "kp*error", "equations line 2: unknown name 'kp'; did you mean"),
    (CONTROLLER, 'y = "1"', 'z = "1"', "equations line 1: unknown name 'y'"),
    (CONTROLLER, '"100 ms"', '"-100 ms"', "parameters.tau_u: found '-100 ms', a time constant"),
    (SYNAPSE, "E_rev - V", "E_rev - U", "current: unknown name 'U'"),
    (SYNAPSE, "g += w*scale", "h += w*scale", "on_pre: 'h' is not a state"),
    (CIRCUIT, '"hidden.basal"', '"hiden.basal"', "projections.W1.to: 'hiden.basal' names no"),
    (CIRCUIT, '"hidden.basal"', '"hidden.tuft"', "projections.W1.to: cell 'pyramidal_rate' has"),
    (CIRCUIT, '"input.rate"', '"input.spikes"', "projections.W1.from: 'input' offers no 'spikes'"),
    (CIRCUIT, '"output.rate"', '"output.rat"', "controllers.control.y: 'output' offers no 'rat'"),
    (CIRCUIT, 'model = "pi_leaky"', 'model = "pi_leak"', "controllers.control.model: unknown cont"),
    (CIRCUIT, 'cell = "pyramidal_rate" }', 'cell = "pyramidal" }', "populations.hidden.cell: unkn"),
    (CIRCUIT, "n = 100", "n = 0", "populations.hidden.n: found 0, input should be greater than 0"),
    (CIRCUIT, "n = 100", "n = 1.5", "populations.hidden.n: found 1.5"),
    (CIRCUIT, 'source = "rate"', 'source = "rats"', "populations.input.source: found 'rats'"),
    (CIRCUIT, ', "dphi(x)" = "1"', "", 'phi is replaced without its slope; replace "dphi(x)"'),
    (CIRCUIT, '"phi(x)" = "x"', '"psi(x)" = "x"', "cell 'pyramidal_rate' has no such function"),
    (CIRCUIT, 'connect = "all", w = "identity"', 'connect = "some", w = 1', "Q2.connect: found '"),
    (CIRCUIT, 'w = "identity"', 'w = "identty"', "projections.Q2.w: unknown initialiser 'identty'"),
    (CIRCUIT, 'w = "identity"', "w = 1, scale = '1 nS'", "projections.Q2.scale: '1 nS' makes the"),
    (CIRCUIT, 'w = "identity"', "w = 1, synapse = 'gaba_a'", "Q2.synapse: a synapse takes spikes"),
    (CIRCUIT, 'rule = "dfc_forward" }\nW2', 'rule = "clopath" }\nW2', "reads V in volt, the posts"),
    (CIRCUIT, ", y = ", ", k_q = 1, y = ", "controllers.control.k_q: unknown key 'k_q'; did"),
    (CLAMP, 'at = "test"', 'at = "tst"', "stimuli.pre.at: spikes cannot be sent to 'tst'; did"),
    (CLAMP, "{voltage}", "{volt}", "unknown variable '{volt}'; did you mean 'voltage'?"),
    (CLAMP, '"-80 mV"', '"-80 pA"', "stimuli.clamp.voltage: found '-80 pA', volt is needed here"),
    (CLAMP, '"50 Hz"', '"50 ms"', "stimuli.pre.train.rate: found '50 ms', hertz is needed here"),
    (CLAMP, 'rule = "clopath"', 'rule = "dfc_forward"', "plastic.test.rule: rule 'dfc_forward' r"),
    (CLAMP, 'what = "w"', 'what = "v"', "record.weight.what: there is no 'v' to record"),
    (STEP, '"400 ms"', '"-1 ms"', "duration: found '-1 ms', a duration is positive"),
    (STEP, '"400 ms"', '"1 mV"', "duration: found '1 mV' in volt, second is needed"),
    (STEP, '"120 pA"', '"120 pF"', "stimuli.step.amplitude: found '120 pF', amp is needed here"),
    (STEP, 'type = "pulse"', 'type = "puls"', "stimuli.pulse: unknown type 'puls'; did you mean"),
    (STEP, ', width = "20 ms"', "", "stimuli.pulse: a stimulus of type 'pulse' needs 'width'"),
    (STEP, "from =", "form =", "stimuli.step: a stimulus of type 'step' has no key 'form'; did"),
    (STEP, 'at = "soma"', 'at = "somma"', "stimuli.step.at: there is no compartment 'somma'; did"),
    (STEP, '"V_m_soma"', '"V_soma"', "record.voltages.what: there is no 'V_soma' to record; did"),
    (STEP, '"rk4"', '"rk5"', "numerics.method: found 'rk5'"),
    (STEP, '"0.1 ms" }', '"0 ms" }', "numerics.dt: found '0 ms', a time step is positive"),
    (STEP, '"pyramidal_escape"', '"pyramidal_rate"', "there is no compartment 'soma'"),
    (STEP, '"pyramidal_escape"', '"clopath"', "on: unknown circuit or cell 'clopath'; known"),
    (LEARN, '"dfc_layered"', '"pyramidal_rate"', "on: 'pyramidal_rate' is a cell; a learning exp"),
    (LEARN, 'method = "dfc"', 'method = "dcf"', "method: unknown method 'dcf'; did you mean 'dfc'"),
    (LEARN, '"digits"', '"digit"', "data.name: unknown dataset 'digit'; did you mean 'digits'?"),
    (LEARN, "layers = [64", "layers = [0", "layers.0: found 0, input should be greater than 0"),
    (LEARN, "steps = 48", "steps = 48, duration = 3", "a phase has either 'duration'"),
    (LEARN, "steps = 48", "stps = 48", "phases.feedback: unknown key 'stps'; did you mean 'steps'"),
    (LEARN, '"cells.tau_A" = 0.3247', '"cells.tau_B" = 1', "cells.tau_B: no cell has this paramet"),
    (LEARN, '"cells.tau_A" = 0.3247', '"cells.tau_A" = -1', "a time constant is positive"),
    (LEARN, '"numerics.dt" = 0.00203', '"numerics.dt" = 0', "numerics.dt: found 0"),
    (LEARN, '["feedback", "control"]', '["feedbak"]', "unknown phase 'feedbak'; did you mean"),
    (LEARN, "epochs = 30", "epochs = -1", "schedule.epochs: found -1"),
    (LEARN, 'engine = "rates"', 'engine = "rate"', "numerics.engine: found 'rate'"),
    (LEARN, 'W = { name = "adam"', 'W = { name = "adm"', "optimisers.W.name: unknown optimiser"),
    (LEARN, '[quick]', '[quick]\n"schedul.epochs" = 2', "quick.schedul.epochs: unknown key"),
    (LEARN, '[quick]', '[[when]]\nmatch = 3\n[quick]', "when 1: is not of the form"),
    (LEARN, "on = ", 'extends = "golden"\non = ', "extends: 'golden' is of kind 'recording'"),
    (LEARN, "on = ", 'extends = "./x.toml"\non = ', "extends this file in turn"),
]


@pytest.mark.parametrize(("text", "old", "new", "message"), EDITS, ids=itertools.count())
def test_one_message_names_place_and_remedy(text, old, new, message, workdir):
    assert old in text
    (workdir / "x.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        load("./x.toml")
    found = str(error.value)
    assert message in found
    assert "x.toml" in found
    assert "\n" not in found and len(found) < 600
    assert error.value.exit_code == 2


@pytest.mark.parametrize(("content", "message"), [
    (b"\x89HDF\r\n\x1a\n\x00\xff", "is not text: byte 0 is not UTF-8"),
    (b"\x00" * 1000, "is not valid TOML"),
    (b"kind = ", "is not valid TOML: Invalid value"),
    (b"kind = 'cell'\nkind = 'cell'", "is not valid TOML: Cannot overwrite"),
    (b"[a\n", "is not valid TOML"),
    (b"a = " + b"[" * 100000, "is not valid TOML"),
    (b"", "kind: is missing"),
    (b"#" * 2_000_000, "larger than 1000000 bytes"),
    (b"kind = 3", "kind: found 3"),
    (b"kind = 'circuit'\nsummary = ''\nlayers = [3]", "layers: found [3]; give at least two"),
    (b"kind = 'circuit'\nsummary = ''\npopulations = 3\nlayers = [3, 4]", "is not layered"),
])
def test_rubbish_is_refused(content, message, workdir):
    (workdir / "x.toml").write_bytes(content)
    with pytest.raises(InputError) as error:
        load("./x.toml")
    assert str(error.value).startswith("x.toml: ")
    assert message in str(error.value)


def test_missing_files_and_folders(workdir):
    for name, message in [("./y.toml", "there is no such file"), (".", "unknown model"),
                          (f"{workdir}/", "is a folder"), ("pyramidal_rat", "did you mean")]:
        with pytest.raises(InputError, match=message):
            load(name)
    with pytest.raises(InputError, match="unknown kind 'cel'; did you mean 'cell'"):
        load("pyramidal_rate", "cel")


def test_an_unreadable_file_is_named(workdir, monkeypatch):
    path = workdir / "x.toml"
    path.write_text(CELL)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(InputError, match=r"x\.toml: cannot be read: Permission denied"):
        load("./x.toml")


@pytest.mark.parametrize("field", ["equations", "functions", "observables", "when", "rule"])
def test_nothing_in_a_file_is_executed(field, workdir):
    attack = "__import__('os').system('touch owned')"
    places = {"equations": (CELL, "g_apical*I_apical  ", f"{attack}  "),
              "functions": (CELL, '"tanh(x)"', f'"{attack}"'),
              "observables": (CELL, '"v_apical : 1"', f'"{attack} : 1"'),
              "when": (ESCAPE, "rand() <", f"{attack} <"),
              "rule": (RULE, "A_LTP*x_pre", f"{attack}*x_pre")}
    text, old, new = places[field]
    (workdir / "x.toml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match="is not allowed in equation text"):
        load("./x.toml")
    assert [p.name for p in workdir.iterdir()] == ["x.toml"]


WRONG = [-1, 1.5, float("nan"), "", "x", "9**9**9**9", "-1 ms", "3 mV", "{a}", True, [], ["x"],
         {}, {"x": {"y": [1]}}, "x" * 3000, "dx/dt = x : 1", 10**30, "\n"]


def leaves(table, above=()):
    """Return the path of every value of a table, tables and lists included."""
    for key, value in table.items() if isinstance(table, dict) else enumerate(table):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*above, key))


def places(table):
    """Return the paths of a table's values; of list entries that are alike, the first's."""
    found = {}
    for path in leaves(table):
        found.setdefault(tuple("" if isinstance(key, int) else key for key in path), path)
    return found.values()


@pytest.mark.parametrize(("kind", "name"), [
    (kind, name) for kind in library.FOLDERS for name in library.names(kind)])
def test_any_value_in_any_place_is_taken_or_refused_with_a_message(kind, name):
    """Each kind of place of each shipped file gets some wrong values, and is left out once."""
    path = library.find(name, (kind,))
    base = read(path)
    values = itertools.cycle(WRONG)
    for place in places(base):
        for wrong in [None, *itertools.islice(values, 3)]:
            table = copy.deepcopy(base)
            part = table
            for key in place[:-1]:
                part = part[key]
            if wrong is None:
                del part[place[-1]]
            else:
                part[place[-1]] = wrong
            try:
                build(table, path, "x.toml")
            except InputError as error:
                assert str(error)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("key", ["on", "numerics.dt", "stimuli.step.amplitude", "stimuli", "over",
                                 "parameters.C_m", "record.spikes.what", "variables.x", "set.x"])
def test_any_value_of_any_key_is_taken_or_refused_with_a_message(key, wrong):
    try:
        resolve.protocol("escape_step", {key: wrong})
    except InputError as error:
        assert str(error)
