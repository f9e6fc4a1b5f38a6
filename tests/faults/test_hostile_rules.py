"""Rule files that try to be more than mathematics: refused with a line and a remedy, none hangs."""

import os
import threading
import time

import pytest
from click.testing import CliRunner

from dfc_neuro.cli import main

RULE = """
kind = "rule"
summary = "A rule that is not one"
reads.post = {{ V = "volt", spikes = true }}
reads.pre  = {{ spikes = true }}
pre     = "dx/dt = -x/tau_x : 1"
post    = "du/dt = (V - u)/tau_x : volt"
synapse = "dw/dt = {synapse} : 1"
on_pre  = ["x_pre += {on_pre}"]
on_post = "w += {on_post}"
initial = {{ u = {initial} }}
functions = {{ "f(y)" = {function} }}
parameters = {{ tau_x = {parameter} }}
late = {{ {late} }}
"""
PLAIN = {"synapse": "0*x_pre/tau_x", "on_pre": "1", "on_post": "0*x_pre", "initial": '"-70 mV"',
         "function": '"y"', "parameter": '"20 ms"', "late": ""}
EXPRESSIONS = {
    "attribute": "x_pre.__class__",
    "attribute of a number": "(1).real",
    "import": "__import__('os')",
    "dunder": "__builtins__",
    "dunder inside": "x__pre",
    "call": "eval(x_pre)",
    "open": "open(1)",
    "method": "x_pre.tofile(1)",
    "index": "x_pre[0]",
    "comprehension": "sum(y for y in x_pre)",
    "list": "[1][0]",
    "lambda": "(lambda: 1)()",
    "text": "'a'*10",
    "f-string": "f'{x_pre}'",
    "walrus": "(y := 1)",
    "conditional": "1 if x_pre else 0",
    "keyword": "exp(x=1)",
    "star": "exp(*x)",
    "power of powers": "9**9**9**9",
    "huge power": "x_pre**1000000",
    "power of a name": "2**x_pre",
    "huge number": "9" * 500,
    "overflowing number": "1e999",
    "semicolon": "1; import os",
    "newline": "1\\nimport os",
    "long": "x_pre + " * 4000 + "1",
    "deep": "(" * 500 + "1" + ")" * 500,
    "deep signs": "-" * 3000 + "1",
    "deep calls": "exp(" * 300 + "1" + ")" * 300,
    "unknown name": "os",
    "unknown function": "system(1)",
    "backtick": "`id`",
    "backslash": "\\\\x41",
    "complex": "1j",
    "unicode": "x\\u0435",
}


def refused(name, text):
    """Return what check says of a file; it may take a second of the processor."""
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    found = []

    def check():
        start = time.thread_time()
        found.extend((CliRunner().invoke(main, ["check", name]), time.thread_time() - start))

    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    thread.join(30)
    assert found, "still at it after thirty seconds"
    result, seconds = found
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and len(result.output) < 700
    assert seconds < 1
    return result.output


@pytest.mark.parametrize("attack", EXPRESSIONS)
@pytest.mark.parametrize("place", ["synapse", "on_pre", "on_post"])
def test_equations_and_statements_hold_only_mathematics(attack, place, workdir):
    message = refused("bad.toml", RULE.format(**PLAIN | {place: EXPRESSIONS[attack]}))
    assert message.startswith("dfc-neuro: bad.toml: ")
    if "\\n" not in EXPRESSIONS[attack]:  # a line break belongs to the text it stands in
        assert message.split(": ")[2].startswith(place)
    assert os.listdir() == ["bad.toml"]


@pytest.mark.parametrize(("place", "written"), [
    ("initial", '"__import__(\'os\').getcwd()"'), ("initial", '"(1).real*volt"'),
    ("function", '"y.__class__"'), ("function", '"f(y)"'), ("function", '"[z for z in y]"'),
    ("function", '"9**9**9**9"'), ("parameter", '"__import__(\'os\') * ms"'),
    ("parameter", '"9**9**9**9 * ms"'), ("parameter", '"20 ms; 1"'), ("parameter", '"ms.dim"'),
    ("parameter", '"(lambda: 1)() * ms"'), ("parameter", "1e400"), ("parameter", "nan"),
    ("parameter", '"1e400 ms"'), ("parameter", '"' + "(" * 5000 + '1 ms"'),
    ("late", 'u = "__import__(\'os\')"'), ("late", 'u = "-4 ms"'), ("late", 'x = "4 ms"'),
    ("late", "u = 4"), ("late", 'u = "1 mV"'),
])
def test_other_keys_hold_only_what_they_should(place, written, workdir):
    refused("bad.toml", RULE.format(**PLAIN | {place: written}))
    assert os.listdir() == ["bad.toml"]


def test_a_line_and_a_remedy_are_said(workdir):
    text = RULE.format(**PLAIN).replace(
        'synapse = "dw/dt = 0*x_pre/tau_x : 1"',
        'synapse = """\ndw/dt = 0*x_pre/tau_x : 1\ny = x_pre.real : 1\n"""')
    message = refused("bad.toml", text)
    assert "synapse line 2: an attribute (a dot after a name) at character 1" in message
    assert "names, numbers, + - * / % ** and known functions" in message


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_deeply_nested_toml_is_refused(depth, workdir):
    refused("bad.toml", 'kind = "rule"\nsummary = "x"\nreads = ' + "[" * depth + "]" * depth)


def test_functions_that_double_are_refused(workdir):
    doubling = ", ".join(f'"f{k}(y)" = "f{k - 1}(y)*f{k - 1}(y)"' for k in range(1, 60))
    text = RULE.format(**PLAIN | {"function": '"y"'}).replace(
        'functions = { "f(y)" = "y" }', f'functions = {{ "f0(y)" = "y*y", {doubling} }}')
    assert "too long once its functions are put in" in refused("bad.toml", text)


MANY = {  # what to replace, by what, and what is said
    "statements": ('["x_pre += 1"]', str(["x_pre += 1"] * 40000).replace("'", '"'),
                   "on_pre: has 40000 statements, at most 200"),
    "functions": ('"f(y)" = "y"', ", ".join(f'"f{k}(y)" = "y"' for k in range(30000)),
                  "functions: a table has 30000 keys, at most 400"),
    "nested functions": (
        '"f(y)" = "y"', '"f0(y)" = "y", '
        + ", ".join(f'"f{k}(y)" = "f{k - 1}(y)"' for k in range(1, 300)),
        "functions: 300 are defined, at most 100"),
    "lines": ('"dw/dt = 0*x_pre/tau_x : 1"', '"""\ndw/dt = y700/tau_x : 1\ny0 = x_pre : 1\n'
              + "".join(f"y{k} = y{k - 1} + y{k - 1} : 1\n" for k in range(1, 701)) + '"""',
              "synapse: has 702 lines, at most 200"),
    "keys": ("summary", "".join(f"k{k} = 1\n" for k in range(60000)) + "summary",
             "a table has 60012 keys, at most 400"),
    "parts of a key": ("summary", "a." * 100000 + "a = 1\nsummary", "more than 60 dots"),
    "letters of a key": ("summary", "a" * 900000 + " = 1\nsummary", "unknown key 'aaa"),
}


@pytest.mark.parametrize("what", MANY)
def test_too_much_of_anything_is_refused(what, workdir):
    old, new, said = MANY[what]
    assert said in refused("bad.toml", RULE.format(**PLAIN).replace(old, new, 1))


def test_initial_weight_is_a_number(workdir):
    text = RULE.format(**PLAIN).replace("initial = { u", 'initial = { w = "x", u')
    assert "initial.w: found 'x'; a weight is a plain number" in refused("bad.toml", text)
