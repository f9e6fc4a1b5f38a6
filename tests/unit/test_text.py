"""The grammar of equation text: what it reads, what it refuses, and units against Brian2's."""

import ast
import math

import pytest
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS
from brian2.core.variables import Constant, Variable
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.units.fundamentalunits import DimensionMismatchError, get_or_create_dimension
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc_neuro.errors import ModelError
from dfc_neuro.files import dimensions, text, units

WHERE = "x.toml: equations line 1"
NUMBER, VOLT, SECOND = (units.dimension(u) for u in ("1", "volt", "second"))

ATTACKS = [
    "__import__('os').system('touch owned')", "().__class__.__bases__", "9**9**9**9",
    "(lambda: 1)()", "[x for x in y]", "x[0]", "x.real", "f'{x}'", "open(x)", "exec(x)", "a := 3",
    "exp(x=3)", "tanh(*a)", "x if y else z", "x; y", "a, b", "1j", "a < b < c", "x**y", "x**17",
    "2**-y", "'a'*3", "{x}", "await x", "a @ b", "a // b", "a & b", "~a", "a is b", "a in b",
    "__x", "a__b", "_a", "1" * 400, "1e999", "(" * 300 + "1" + ")" * 300, "-" * 1500 + "1",
    "1+" * 900 + "1", "not " * 400 + "a", "x" * 5000, "", "   ", "x +", "x\n\ny", "\x00", "é",
    "eval(x)", "getattr(x)", "phi(x)", "tanh()", "tanh(x, y)", "1_000.real", "...", "None",
    "x == 'a'", "print(x)", "\\", "`x`", "$x", "x ? y : z", "?", "#x",
]


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_hostile_text_is_refused_by_name_of_place(attack):
    with pytest.raises(ModelError) as error:
        text.expression(attack, WHERE)
    assert str(error.value).startswith(WHERE)
    assert len(str(error.value)) < 500


def test_doubling_functions_do_not_explode():
    table = {"f0(x)": "x + x"} | {f"f{i}(x)": f"f{i - 1}(x)*f{i - 1}(x)" for i in range(1, 40)}
    with pytest.raises(ModelError, match="too long once its functions are put in"):
        text.definitions(table, "x.toml: functions")


@pytest.mark.parametrize("table", [{"f(x)": "f(x)"}, {"f(x)": "g(x)", "g(x)": "1 + f(x)"}])
def test_recursion_is_refused(table):
    with pytest.raises(ModelError, match="calls itself"):
        text.definitions(table, "x.toml: functions")


@pytest.mark.parametrize("name", ["e", "i", "j", "N", "t", "dt", "xi", "xi_1", "lambda", "ms",
                                  "mV", "exp", "relu", "pi", "w", "a__b", "_a", "1a", "a-b",
                                  "a_pre", "a_post", "u_next", "", "class"])
def test_names_that_cannot_be_defined(name):
    with pytest.raises(ModelError):
        text.check_name(name, "x.toml: parameters")


@pytest.mark.parametrize("name", ["S", "g", "b", "u", "V_m_soma", "k_p", "error", "x", "s", "A"])
def test_names_that_can(name):
    text.check_name(name, "x.toml: parameters")


def test_lines():
    found = text.equations("""
    # a comment
    dV/dt = (g_L*(E_L - V)   # leak
             + I_soma)/C_m : volt (unless refractory)

    x = 2*V/mV : 1   # twice
    b : 1/(second*volt)
    """.replace("V/dt", "v/dt").replace(" V)", " v)").replace("2*V", "2*v"), "f")
    assert [(e.kind, e.name, e.flags, e.line) for e in found] == [
        ("differential", "v", ("unless refractory",), 3), ("subexpression", "x", (), 6),
        ("parameter", "b", (), 7)]
    assert text.write(found[0].tree) == "(g_L * (E_L - v) + I_soma) / C_m"
    assert found[2].dims == units.quantity("1 hertz/volt", "").dimensions


@pytest.mark.parametrize(("written", "message"), [
    ("x = 1", "line 1: 'x = 1' has no unit"), ("\nx = (1 : 1", "line 2: a '(' is not closed"),
    ("x = 1) : 1", "line 1: a ')' too many"), ("x = 1 : mV", "write 'volt'"),
    ("x = 1 : vlt", "did you mean 'volt'"), ("x : 1\nx : 1", "line 2: 'x' is defined twice"),
    ("dx/dx = 1 : 1", "cannot read 'dx/dx = 1'"), ("x == 1 : 1", "cannot read"),
    ("ms : 1", "'ms' is a unit"), ("x = y.z : 1", "line 1: an attribute"),
])
def test_bad_lines_are_named(written, message):
    with pytest.raises(ModelError) as error:
        text.equations(written, "x.toml: equations")
    assert message in str(error.value)


def test_statements_keep_their_order():
    found = text.statements(["w -= A*x; x_pre += 1/tau", "y = 0"], "f")
    assert [(s.name, s.operator, text.write(s.tree)) for s in found] == [
        ("w", "-=", "A * x"), ("x_pre", "+=", "1 / tau"), ("y", "=", "0")]
    for bad in ("w", "w + 1", "w.x = 1", "w[0] = 1", "w **= 2", "import os", "w == 1"):
        with pytest.raises(ModelError):
            text.statements(bad, "f")


def test_functions_are_put_in_by_tree():
    functions = text.definitions({"phi(x)": "tanh(k*x)", "twice(y, x)": "phi(y) + phi(x)"}, "f")
    tree = text.expression("twice(a - b, phi(c))**2", "f", functions)
    found = text.write(text.inline(tree, functions, "f"))
    assert found == "(tanh(k * (a - b)) + tanh(k * tanh(k * c))) ** 2"
    assert text.write(tree) == "twice(a - b, phi(c)) ** 2"  # the original stays


@given(st.floats(-100, 100))
def test_relu_is_the_rectifier_and_keeps_the_unit(value):
    tree = text.inline(text.expression("relu(x)", "f"), {}, "f")
    assert dimensions.evaluate(tree, {"x": value}) == max(value, 0.0)
    assert dimensions.dimension(tree, {"x": VOLT}) == VOLT


@pytest.mark.parametrize(("written", "value"), [
    ("exp(1) - 1", math.expm1(1)), ("clip(5, 0, 3) + 7 % 4", 6.0), ("exprel(0) + 2**-1", 1.5),
    ("3*mV + int(2.7)*volt", 2.003), ("(2 > 1)*4 - sign(-3)", 5.0), ("sqrt(4)*pi", 2 * math.pi),
])
def test_constants_have_values(written, value):
    assert dimensions.evaluate(text.expression(written, "f"), {}) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("written", ["1/0", "exp(1000)", "rand()", "y", "(-2)**0.5", "log(-1)"])
def test_constants_without_a_value(written):
    with pytest.raises(ValueError):
        dimensions.evaluate(text.expression(written, "f"), {})


VARIABLES = {"a": NUMBER, "v": VOLT, "z": VOLT, "tau": SECOND}
KNOWN = ({name: Variable(name, dimensions=get_or_create_dimension(d))
          for name, d in VARIABLES.items()}
         | {name: Constant(name, float(u), dimensions=u.dim) for name, u in DEFAULT_UNITS.items()
            if name in ("mV", "ms", "nS")} | dict(DEFAULT_FUNCTIONS))


def expressions():
    """Return random expressions of a number, two voltages and a time."""
    leaf = st.sampled_from(["a", "v", "z", "tau", "mV", "ms", "nS", "1", "2.5", "0"])
    unary = st.sampled_from(["-({})", "exp({})", "tanh({})", "abs({})", "sqrt({})", "({})**2",
                             "({})**-1", "floor({})", "sign({})", "int({})", "exprel({})",
                             "({})**0.5", "log({})", "ceil({})"])
    binary = st.sampled_from(["({} + {})", "({} - {})", "({} * {})", "({} / {})", "({} % {})",
                              "int({} > {})", "int({} <= {})", "clip({0}, -({1}), {1})"])

    def more(below):
        return st.one_of(st.tuples(unary, below).map(lambda p: p[0].format(p[1])),
                         st.tuples(binary, below, below).map(lambda p: p[0].format(p[1], p[2])))

    return st.recursive(leaf, more, max_leaves=6)


@settings(max_examples=400)
@given(expressions())
def test_units_are_those_that_brian2_finds(written):
    try:
        theirs = parse_expression_dimensions(written, KNOWN)
        theirs = tuple(round(float(d), 9) for d in theirs._dims)
    except (DimensionMismatchError, SyntaxError, TypeError):
        theirs = None
    try:
        ours = dimensions.dimension(text.expression(written, "f"), VARIABLES)
    except ValueError:
        ours = None
    assert ours == theirs, written


def test_unknown_names_are_found():
    tree = text.expression("a + b*dt/ms + pi + rand() + mS", "f")
    assert dimensions.unknown_names(tree, {"a": None}) == {"b", "mS"}
    assert text.names(tree) == {"a", "b", "dt", "ms", "pi", "mS"}
    assert isinstance(tree, ast.BinOp)
