"""A model's text against the kernels, term by term: edits are refused by name, rewritings run."""

import ast
import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc_neuro.errors import EngineError
from dfc_neuro.files import load
from dfc_neuro.files.load import validate
from dfc_neuro.rates.canonical import check_cell, check_controller, check_observable, nonlinearity

SOMA = "(v_basal + v_apical - v_soma)/tau_v"
CELL = [  # line, its right-hand side, the edited one, what the message names
    ("v_basal", "g_basal*(I_basal + b)", "1.1*g_basal*(I_basal + b)", "'1.1*I_basal*g_basal'"),
    ("v_basal", "g_basal*(I_basal + b)", "g_basal*(I_basal - b)", "'-b*g_basal'"),
    ("v_basal", "g_basal*(I_basal + b)", "g_basal*I_basal + 0*b", "'b*g_basal'"),
    ("v_basal", "g_basal*(I_basal + b)", "g_basal*(I_basal + b + v_free)", "'g_basal*v_free'"),
    ("v_basal", "g_basal*(I_basal + b)", "g_apical*(I_basal + b)", "'I_basal*g_apical'"),
    ("v_basal", "g_basal*(I_basal + b)", "g_basal*(I_basal + b)**2", "'I_basal**2*g_basal'"),
    ("dv_soma/dt", SOMA, "(v_basal + 1.1*v_apical - v_soma)/tau_v", "'1.1*v_apical/tau_v'"),
    ("dv_soma/dt", SOMA, "(v_basal - v_apical - v_soma)/tau_v", "'-v_apical/tau_v'"),
    ("dv_soma/dt", SOMA, "(v_basal + v_apical + v_soma)/tau_v", "'v_soma/tau_v'"),
    ("dv_soma/dt", SOMA, "(v_basal - v_soma)/tau_v", "'v_apical/tau_v'"),
    ("dv_soma/dt", SOMA, "(v_basal + v_apical - v_soma + 0.1)/tau_v", "'0.1/tau_v'"),
    ("dv_soma/dt", SOMA, "(v_basal + v_apical - v_soma*(1 + v_soma))/tau_v",
     "'-v_soma**2/tau_v'"),
    ("dv_soma/dt", SOMA, "(v_basal + v_apical - tanh(v_soma))/tau_v", "'-tanh(v_soma)/tau_v'"),
]
FAST = ("v_apical", "g_apical*I_apical", "-g_apical*I_apical", "'-I_apical*g_apical'")
SLOW = [("dv_apical/dt", "(g_apical*I_apical - v_apical)/tau_A", f"({text})/{tau}", term)
        for text, tau, term in (
    ("g_apical*I_apical - 1.1*v_apical", "tau_A", "'-1.1*v_apical/tau_A'"),
    ("g_apical*I_apical + v_apical", "tau_A", "'v_apical/tau_A'"),
    ("g_apical*I_apical", "tau_A", "'-v_apical/tau_A'"),
    ("g_apical*I_apical - v_apical + v_basal", "tau_A", "'v_basal/tau_A'"),
    ("g_apical*I_apical - v_apical", "tau_v", "'I_apical*g_apical/tau_v'"))]
CONTROLLER = [
    ("error", "target - y", "target - 1.1*y", "'-1.1*y'"),
    ("error", "target - y", "y - target", "'-target'"),
    ("error", "target - y", "0*y + target", "'-y'"),
    ("u", "u_int + k_p*error", "u_int - k_p*error", "'-error*k_p'"),
    ("u", "u_int + k_p*error", "u_int", "'error*k_p'"),
    ("u", "u_int + k_p*error", "u_int + k_p*error + alpha", "'alpha'"),
    ("du_int/dt", "(error - alpha*u)/tau_u", "(error - alpha*u_int)/tau_u",
     "'-alpha*u_int/tau_u'"),
    ("du_int/dt", "(error - alpha*u)/tau_u", "(2*error - alpha*u)/tau_u", "'2*error/tau_u'"),
    ("du_int/dt", "(error - alpha*u)/tau_u", "error/tau_u", "'-alpha*u/tau_u'"),
]


def with_line(model, left, old, new):
    """The model with the right-hand side of one line changed."""
    lines, hits = [], 0
    for line in model.equations.splitlines():
        if line.partition("=")[0].strip() == left:
            assert old in line
            line, hits = line.replace(old, new), hits + 1
        lines.append(line)
    assert hits == 1
    return validate({**model.source, "equations": "\n".join(lines)}, model.path, "my.toml")


def changed(model, **tables):
    table = copy.deepcopy(model.source)
    for name, value in tables.items():
        table[name] = {**table.get(name, {}), **value} if isinstance(value, dict) else value
    return validate(table, model.path, "my.toml")


def refusal(check, model, *more):
    with pytest.raises(EngineError) as error:
        check(model, *more)
    message = str(error.value)
    assert message.startswith("my.toml")
    assert "engine 'brian' runs any text" in message
    return message


@pytest.mark.parametrize(("left", "old", "new", "term"), [*CELL, FAST])
def test_an_edited_term_of_the_cell_is_named(left, old, new, term):
    message = refusal(check_cell, with_line(load("pyramidal_rate", "cell"), left, old, new))
    assert f"{left} has" in message and term in message


@pytest.mark.parametrize(("left", "old", "new", "term"), [*CELL, *SLOW])
def test_an_edited_term_of_the_slow_cell_is_named(left, old, new, term):
    message = refusal(check_cell, with_line(load("pyramidal_rate_slow", "cell"), left, old, new))
    assert f"{left} has" in message and term in message


@pytest.mark.parametrize(("left", "old", "new", "term"), CONTROLLER)
def test_an_edited_term_of_the_controller_is_named(left, old, new, term):
    model = with_line(load("pi_leaky", "controller"), left, old, new)
    message = refusal(check_controller, model)
    assert f"{left} has" in message and term in message


@pytest.mark.parametrize(("change", "named"), [
    ({"equations": "v_extra = 2*v_soma : 1"}, "'v_extra' is not among the equations"),
    ({"equations": "dtrace/dt = -trace/tau_v : 1"}, "'dtrace/dt' is not among the equations"),
    ({"parameters": {"g_basal": 0.9}}, "parameters.g_basal: is 0.9"),
    ({"parameters": {"g_apical": -1}}, "parameters.g_apical: is -1"),
    ({"initial": {"v_soma": 0.5}}, "initial.v_soma"),
    ({"spike": {"when": "v_soma > 1"}}, "spike: the rate engine has no spikes"),
])
def test_more_than_the_kernels_have_is_refused(change, named):
    cell = load("pyramidal_rate", "cell")
    if "equations" in change:
        change = {"equations": cell.equations + change["equations"]}
    assert named in refusal(check_cell, changed(cell, **change))


def test_a_line_of_another_kind_is_refused():
    cell = load("pyramidal_rate", "cell")
    lines = ["v_apical = g_apical*I_apical : 1" if "v_apical " in line and "=" in line
             and line.startswith("v_apical") else line for line in cell.equations.splitlines()]
    assert check_cell(validate({**cell.source, "equations": "\n".join(lines)}, cell.path, "x"))\
        is False
    frozen = [line.replace("dv_soma/dt = (v_basal + v_apical - v_soma)/tau_v", "v_soma = v_basal")
              for line in cell.equations.splitlines()]
    message = refusal(check_cell, validate({**cell.source, "equations": "\n".join(frozen)},
                                           cell.path, "my.toml"))
    assert "'v_soma' is a subexpression" in message


@pytest.mark.parametrize(("name", "text", "named"), [
    ("rate", "1.1*phi(v_soma) : 1", "'1.1*phi(v_soma)'"),
    ("rate", "phi(v_basal) : 1", "'phi(v_basal)'"),
    ("prediction", "phi(v_soma) : 1", "'phi(v_soma)'"),
    ("prediction", "phi(0.5*v_basal) : 1", "'phi(0.5*v_basal)'"),
    ("apical", "-v_apical : 1", "'-v_apical'"),
    ("mismatch", "phi(v_basal) - phi(v_soma) : 1", "'phi(v_basal) - phi(v_soma)'"),
    ("gain", "dphi(v_soma) : 1", "'dphi(v_soma)'"),
    ("surprise", "v_soma*v_soma : 1", "observables.surprise: is not computed"),
])
def test_an_edited_observable_is_refused_when_it_is_read(name, text, named):
    cell = changed(load("pyramidal_rate", "cell"), observables={name: text})
    assert check_cell(cell) is False
    assert named in refusal(check_observable, cell, name)


def test_a_renamed_observable_is_no_longer_offered():
    cell = load("pyramidal_rate", "cell")
    check_observable(changed(cell, observables={"mismatch": "-phi(v_basal) + phi(v_soma) : 1"}),
                     "mismatch")
    renamed = changed(cell, observables={"firing": "phi(v_soma) : 1"})
    assert "it offers rate, prediction, apical" in refusal(check_observable, renamed, "firing")


@pytest.mark.parametrize(("phi", "dphi", "name"), [
    ("tanh(x)", "1 - tanh(x)**2", "tanh"), ("tanh(x)", "1 - tanh(x)*tanh(x)", "tanh"),
    ("x", "1", "linear"), ("x*1", "1.0", "linear"), ("relu(x)", "int(x > 0)", "relu"),
    ("int(x > 0)*x", "int(x > 0)", "relu"), ("relu(x) - relu(-x)*0.2", "0.2 + 0.8*int(x > 0)",
                                             "leaky_relu"),
    ("x*(0.8*int(x > 0) + 0.2)", "0.8*int(x > 0) + 0.2", "leaky_relu"),
    ("1/(exp(-x) + 1)", "(1/(1 + exp(-x)))*(1 - 1/(1 + exp(-x)))", "sigmoid"),
])
def test_functions_are_recognised(phi, dphi, name):
    for x in ("x", "voltage"):
        source = {f"phi({x})": phi.replace("x", x).replace(f"e{x}p", "exp"),
                  f"dphi({x})": dphi.replace("x", x).replace(f"e{x}p", "exp")}
        cell = load("pyramidal_rate", "cell")
        cell = validate({**cell.source, "functions": source}, cell.path, "my.toml")
        assert nonlinearity(cell, "my.toml") == name
        check_observable(cell, "gain")


@pytest.mark.parametrize(("functions", "named"), [
    ({"phi(x)": "tanh(2*x)"}, "'tanh(2*x)' is not a nonlinearity"),
    ({"phi(x)": "1.1*tanh(x)"}, "'1.1*tanh(x)' is not a nonlinearity"),
    ({"phi(x)": "x*(0.1 + 0.9*int(x > 0))"}, "is not a nonlinearity"),
    ({"phi(x)": "x**3"}, "'x**3' is not a nonlinearity"),
    ({"dphi(x)": "1 - tanh(x)"}, "'1 - tanh(x)' is not the slope of phi, '1 - tanh(x)**2'"),
    ({"phi(x)": "x"}, "is not the slope of phi, '1'"),
])
def test_other_functions_are_refused(functions, named):
    cell = changed(load("pyramidal_rate", "cell"), functions=functions)
    with pytest.raises(EngineError) as error:
        nonlinearity(cell, "my.toml")
        check_observable(cell, "gain")
    assert named in str(error.value)


def rewritten(draw, node):
    """An expression of the same value: swapped, distributed, negated twice, times one."""
    match node:
        case ast.BinOp(left, op, right):
            left, right = rewritten(draw, left), rewritten(draw, right)
        case _:
            return node
    new = ast.BinOp(left, op, right)
    match op, left:
        case ast.Add(), _ if draw(st.booleans()):
            new = ast.BinOp(right, ast.Add(), left)
        case ast.Sub(), _ if draw(st.booleans()):
            new = ast.BinOp(ast.UnaryOp(ast.USub(), right), ast.Add(), left)
        case ast.Mult(), _ if isinstance(right, ast.BinOp) and draw(st.booleans()) \
                and isinstance(right.op, ast.Add | ast.Sub):
            new = ast.BinOp(ast.BinOp(right.left, ast.Mult(), left), right.op,
                            ast.BinOp(left, ast.Mult(), right.right))
        case ast.Div(), ast.BinOp(a, ast.Add() | ast.Sub() as plus, b) if draw(st.booleans()):
            new = ast.BinOp(ast.BinOp(a, ast.Div(), right), plus, ast.BinOp(b, ast.Div(), right))
    if draw(st.booleans()):
        new = ast.UnaryOp(ast.USub(), ast.UnaryOp(ast.USub(), new))
    if draw(st.booleans()):
        new = ast.BinOp(ast.BinOp(ast.Constant(2), ast.Mult(), new), ast.Div(), ast.Constant(2))
    return new


@settings(max_examples=60)
@given(st.data())
def test_rewritings_of_equal_value_run(data):
    name = data.draw(st.sampled_from(["pyramidal_rate", "pyramidal_rate_slow", "pi_leaky"]))
    model = load(name)
    lines = []
    for line in model.equations.splitlines():
        left, equals, rest = line.partition("=")
        if equals:
            right, _, unit = rest.partition(":")
            tree = rewritten(data.draw, ast.parse(right.strip(), mode="eval").body)
            line = f"{left} = {ast.unparse(tree)} : {unit.partition('#')[0]}"
        lines.append(line)
    lines = data.draw(st.permutations(lines))
    again = validate({**model.source, "equations": "\n".join(lines)}, model.path, "my.toml")
    if name == "pi_leaky":
        check_controller(again)
    else:
        assert check_cell(again) is (name == "pyramidal_rate_slow")
