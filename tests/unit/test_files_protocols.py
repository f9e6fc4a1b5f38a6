"""Protocols: inheritance, matches, keys, conditions and phases, down to the model they run on."""

import brian2
import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from dfc_neuro.errors import InputError, ProtocolError
from dfc_neuro.files import keys, library, resolve
from dfc_neuro.files.load import load

SHORT = """
kind = "recording"
summary = "a step"
on = "pyramidal_escape"
duration = "10 ms"
[stimuli]
step = { type = "step", at = "soma", amplitude = "10 pA" }
[record]
v = { what = "V_m_soma" }
"""


@pytest.fixture
def short(workdir):
    """Return a function that writes a protocol on top of SHORT and resolves it."""
    def make(more="", name="short", **arguments):
        path = workdir / f"{name}.toml"
        path.write_text(SHORT + more)
        return resolve.protocol(path, **arguments)
    return make


@pytest.mark.parametrize("name", library.names("protocol"))
def test_shipped_protocols_resolve_and_can_be_written(name):
    found = resolve.protocol(name)
    assert (found.circuit is None) != (found.cell is None)
    again = library.find(name).parent / f"{name}.toml"
    assert tomli_w.dumps(found.source) == tomli_w.dumps(load(again).source)


def test_a_source_resolves_to_itself(workdir):
    """What a result file stores as its protocol can be run again."""
    first = resolve.protocol("quickstart", {"populations.hidden.cell": "pyramidal_rate",
                                            "method": "bp", "cells.tau_v": "10 ms"}, quick=True)
    (workdir / "again.toml").write_text(tomli_w.dumps(first.source))
    second = resolve.protocol(workdir / "again.toml")
    assert second.source == first.source
    assert second.circuit.cells["output"].constants["tau_v"].value == 0.01


def test_keys_change_the_protocol_or_its_model():
    found = resolve.protocol("quickstart", {
        "schedule.epochs": 3, "layers": [64, 20, 10], "populations.hidden.cell":
        "pyramidal_rate_slow", "controllers.control.alpha": 0.5, "projections.W.rule":
        "dfc_forward_voltage", "optimisers.W.lr": 0.1, "rules.eta": "3 Hz"})
    assert found.schedule.epochs == 3
    assert found.optimisers["W"]["lr"] == 0.1
    assert found.circuit.cells["hidden"].name == "pyramidal_rate_slow"
    assert found.circuit.cells["output"].name == "pyramidal_rate"
    assert found.circuit.controller_models["control"].constants["alpha"].value == 0.5
    assert {found.circuit.rules[name].name for name in ("W1", "W2")} == {"dfc_forward_voltage"}
    assert found.circuit.rules["Q1"].constants["eta"].value == 3.0


def test_a_name_without_number_stands_for_all_with_one():
    found = resolve.protocol("quickstart", {"populations.hidden.cell": "pyramidal_rate_slow"})
    assert [cell.name for cell in found.circuit.cells.values()] == [
        "pyramidal_rate_slow", "pyramidal_rate_slow", "pyramidal_rate"]


def test_phases_put_their_keys_into_circuit_and_numerics():
    found = resolve.protocol("quickstart")
    control, feedback = (resolve.phase(found, name) for name in ("control", "feedback"))
    constants = control.circuit.controller_models["control"].constants
    assert (constants["k_p"].value, constants["alpha"].value) == (2.0, 1e-3)
    assert control.circuit.cells["output"].constants["tau_v"].value == pytest.approx(0.02)
    assert control.circuit.cells["output"].name == "pyramidal_rate"

    cell = feedback.circuit.cells["output"]
    assert feedback.numerics.dt == 0.00203 and found.numerics.dt == 0.05
    assert cell.name == "pyramidal_rate_slow" and cell.functions["phi(x)"] == "x"
    tau_u = feedback.circuit.controller_models["control"].constants["tau_u"].value
    assert cell.constants["tau_A"].value / tau_u == pytest.approx(0.3247, rel=1e-15)
    assert cell.constants["tau_v"].value / tau_u == pytest.approx(0.0063, rel=1e-15)
    assert found.phases["feedback"].noise == 0.01
    assert found.phases["control"].keys["cells.tau_v"] == 0.2


def test_phase_tables_may_be_nested(workdir):
    text = library.find("quickstart").read_text().replace("[phases] ", """[phases.third]
duration = 1
learn = "W"
[phases.third.controllers.control]
k_p = 0.25
[phases] """)
    (workdir / "nested.toml").write_text(text)
    found = resolve.protocol(workdir / "nested.toml")
    third = resolve.phase(found, "third").circuit
    assert third.controller_models["control"].constants["k_p"].value == 0.25
    changed = resolve.protocol(workdir / "nested.toml", {"phases.third.controllers.control.k_p": 4})
    assert changed.phases["third"].keys == {"controllers.control.k_p": 4}


def test_quick_may_make_the_grid_smaller():
    found = resolve.protocol("critical_frequency", quick=True)
    labels = [label for label, _ in resolve.conditions(found)]
    assert labels == [f"frequency={f}" for f in (60, 100, 120, 150, 200)]
    assert {p.numerics.dt for _, p in resolve.conditions(found)} == {"0.05 ms"}


def test_quick_yields_to_the_user():
    assert resolve.protocol("quickstart", quick=True).schedule.epochs == 2
    found = resolve.protocol("quickstart", {"schedule.epochs": 7}, quick=True)
    assert (found.schedule.epochs, found.schedule.before["feedback"]) == (7, 2)


def test_extending_and_matching(workdir):
    (workdir / "table.toml").write_text("""
kind = "learning"
summary = "a column"
extends = "quickstart"
[schedule]
epochs = 4
[[when]]
match = { column = "large", feedback = "learned" }
set = { "data.batch" = 128, "phases.control.controllers.control.alpha" = 0.25 }
[[when]]
match = { "data.batch" = 128, method = "bp" }
set = { "optimisers.W.lr" = 0.5, "data.batch" = 99 }
""")
    plain = resolve.protocol(workdir / "table.toml")
    assert (plain.schedule.epochs, plain.data["batch"]) == (4, 64)
    assert plain.optimisers["Q"]["betas"] == [0.99, 0.99]
    large = resolve.protocol(workdir / "table.toml", {"column": "large"})
    assert large.data["batch"] == 128
    assert large.phases["control"].keys["controllers.control.alpha"] == 0.25
    bp = resolve.protocol(workdir / "table.toml", {"column": "large", "method": "bp"})
    assert (bp.data["batch"], bp.optimisers["W"]["lr"]) == (99, 0.5)
    own = resolve.protocol(workdir / "table.toml", {"column": "large", "data.batch": 32})
    assert own.data["batch"] == 32  # the user's key wins
    fixed = resolve.protocol(workdir / "table.toml", {"column": "large", "feedback": "fixed"})
    assert fixed.data["batch"] == 64
    assert "when" not in large.source and "extends" not in large.source
    with pytest.raises(ProtocolError, match="unknown key 'colum'; did you mean 'column'"):
        resolve.protocol(workdir / "table.toml", {"colum": "large"})


def test_a_word_that_no_match_knows_is_refused():
    with pytest.raises(ProtocolError, match="--set column: unknown value 'fmnis'; did you mean"):
        resolve.protocol("table1", {"column": "fmnis"})
    assert resolve.protocol("table1", {"size": "full"}, quick=True).data["name"] == "mnist"


def test_conditions_and_over_make_a_grid(short):
    found = short("""
[conditions]
weak = {}
strong = { "stimuli.step.amplitude" = "100 pA", "parameters.g_L_soma" = "7 nS" }
[over]
g = ["1 ms", "2 ms"]
[[when]]
match = { g = "0.002 second" }
set = { "stimuli.step.from" = "{g}", "stimuli.step.to" = "5 ms" }
""")
    grid = resolve.conditions(found)
    assert [label for label, _ in grid] == [
        "weak, g=1 ms", "weak, g=2 ms", "strong, g=1 ms", "strong, g=2 ms"]
    steps = [one.stimuli["step"] for _, one in grid]
    assert [s.amplitude for s in steps] == ["10 pA", "10 pA", "100 pA", "100 pA"]
    assert [s.from_ for s in steps] == [None, "2 ms", None, "2 ms"]
    leaks = [one.cell.constants["g_L_soma"].value for _, one in grid]
    assert leaks == pytest.approx([5e-9, 5e-9, 7e-9, 7e-9], rel=1e-15)


def test_a_recording_without_conditions_has_one(short):
    found = short()
    assert resolve.conditions(found) == [("default", found)]


def test_placeholders_are_filled_whole_or_in_part(short):
    found = short('[over]\na = [3, 4]\n', keys={"stimuli.step.amplitude": "{a} pA"})
    assert [one.stimuli["step"].amplitude for _, one in resolve.conditions(found)] == [
        "3 pA", "4 pA"]
    with pytest.raises(ProtocolError, match=r"unknown variable '\{b\}'; known: a"):
        short('[over]\na = [3, 4]\n', keys={"stimuli.step.amplitude": "{b} pA"})


def test_a_rule_under_test_is_loaded_with_its_synapse(short):
    found = short("""
[plastic]
syn = { at = "apical", rule = "clopath", synapse = "gaba_a", scale = "1 nS", w = 0.25 }
[stimuli.pre]
type = "spikes"
at = "syn"
times = ["1 ms", "2 ms"]
""")
    assert found.rules["syn"].name == "clopath" and found.synapses["syn"].name == "gaba_a"


@pytest.mark.parametrize(("assignment", "expected"), [
    ("a.b=3", ("a.b", 3)), ("a=1e-3", ("a", 1e-3)), ("a=true", ("a", True)),
    ("a=word", ("a", "word")), ("a=10 ms", ("a", "10 ms")), ("a=[1, 2]", ("a", [1, 2])),
    ('a="3"', ("a", "3")), ("a={ b = 1 }", ("a", {"b": 1})), ("a=x=y", ("a", "x=y")),
    (" a = -2 ", ("a", -2)), ("a=../own.toml", ("a", "../own.toml")),
])
def test_assignments(assignment, expected):
    assert keys.parse_assignment(assignment) == expected


@pytest.mark.parametrize("assignment", ["a", "=3", "a=", "a=[1", "a={b}", 'a="x'])
def test_broken_assignments(assignment):
    with pytest.raises(ProtocolError, match="--set"):
        keys.parse_assignment(assignment)


def test_values_of_a_notebook_become_toml():
    given = {"a": 3 * brian2.mV, "b": np.float64(0.5), "c": np.arange(3), "d": (1, "x"),
             "e": {"f": np.int64(2)}, "g": np.True_}
    assert keys.plain(given, "keys") == {"a": "0.003 volt", "b": 0.5, "c": [0, 1, 2],
                                         "d": [1, "x"], "e": {"f": 2}, "g": True}
    with pytest.raises(ProtocolError, match=r"keys\.x: found None"):
        keys.plain({"x": None}, "keys")


scalars = st.one_of(st.integers(), st.booleans(), st.text(max_size=5))
tables = st.recursive(scalars, lambda below: st.dictionaries(
    st.text("abc", min_size=1, max_size=3), below, max_size=3), max_leaves=8).filter(
        lambda t: isinstance(t, dict))


@given(tables, tables)
def test_merging_keeps_the_base_and_prefers_the_rest(base, more):
    merged = keys.merged(base, more)
    assert set(merged) == set(base) | set(more)
    for key, value in keys.flat(more).items():
        assert keys.look_up(merged, key) == value
    assert keys.merged(merged, more) == merged and keys.merged(base, {}) == base


def test_same_values_in_other_units_match():
    assert keys.same("0.1 s", "100 ms") and keys.same(3, 3.0) and keys.same("dfc", "dfc")
    assert not keys.same("0.1 s", "100 mV") and not keys.same(True, 1) and not keys.same(None, 0)


@pytest.mark.parametrize("assigned", [
    {"epochs": 3}, {"schedule.epoks": 3}, {"populations.hiden.cell": "pyramidal_rate"},
    {"phases.contrl.steps": 3}, {"controllers.control.kp": 1}, {"optimisers.Z.lr": 1},
    {"projections.W9.rule": "x"}, {"cells.tau_z": 1}, {"rules.et": 1}, {"parameters.a": 1},
])
def test_unknown_keys_name_what_there_is(assigned):
    with pytest.raises(InputError, match=r"did you mean|known: "):
        resolve.protocol("quickstart", assigned)
