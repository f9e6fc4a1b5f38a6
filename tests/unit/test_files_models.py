"""Models: what a file becomes, and that the text composed of it is what Brian2 accepts."""

import brian2
import numpy as np
import pytest

import dfc_neuro as dn
from dfc_neuro.errors import ModelError
from dfc_neuro.files import compose, library, text, units
from dfc_neuro.files.load import build, load, read
from dfc_neuro.files.schema import Cell, Rule

SHIPPED = [(kind, name) for kind in library.MODEL_KINDS for name in library.names(kind)]
AMP, ONE, VOLT = (units.dimension(u) for u in ("amp", "1", "volt"))


def edited(name, kind, **changes):
    """Return a shipped model with tables merged into it, validated anew."""
    path = library.find(name, (kind,))
    table = read(path)
    for key, value in changes.items():
        table[key] = {**table[key], **value} if isinstance(value, dict) and key in table else value
    return build(table, path, f"{name}.toml")


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_shipped_models_load_and_say_what_they_are(kind, name):
    model = load(name)
    assert (model.kind, model.name) == (kind, name)
    assert model.label == f"models/{kind}s/{name}.toml"
    assert len(model.summary) > 20 and model.references
    assert load(model.path).source == model.source
    with pytest.raises(ValueError, match="frozen"):
        model.summary = "another"


@pytest.mark.parametrize("name", library.names("cell"))
def test_composed_cells_have_units_that_brian2_accepts(name):
    cell = load(name)
    equations = brian2.Equations(compose.cell_text(cell, {}))
    group = brian2.NeuronGroup(1, equations, method="euler", name=f"units_of_{name}")
    equations.check_units(group, run_namespace={})
    for observable in cell.observables:
        assert tuple(equations[observable].dim._dims) == cell.offers[observable]
    for state, line in ((line.name, line) for line in cell.lines):
        assert tuple(equations[state].dim._dims) == line.dims


def test_sockets_sum_what_is_attached_in_one_line():
    cell = load("pyramidal_escape")
    lines = compose.cell_text(cell, {"apical": ["I_Q1", "I_electrode"]}).splitlines()
    assert "I_apical = I_Q1 + I_electrode : amp" in lines
    assert "I_soma = 0*amp : amp" in lines
    assert "C_m : farad (constant, shared)" in lines
    with pytest.raises(ModelError, match="no compartment 'tuft'"):
        compose.cell_text(cell, {"tuft": []})


@pytest.mark.parametrize(("name", "unit"), [("pyramidal_escape", AMP), ("pyramidal_rate", ONE),
                                            ("pyramidal_rate_slow", ONE)])
def test_units_of_sockets_come_from_the_equations(name, unit):
    assert set(load(name).inputs.values()) == {unit}


def test_an_open_socket_unit_has_to_be_said():
    table = {"kind": "cell", "summary": "a cell", "equations": "v = g*I : volt",
             "parameters": {"g": "1 ohm"}, "compartments": {"a": {"voltage": "v", "input": "I"}}}
    path = library.find("pyramidal_rate")
    assert build(table, path, "x").inputs == {"a": AMP}
    table["equations"] = "v = 3*mV + 0*mV*int(I > I) : volt"
    with pytest.raises(ModelError, match="leave the unit of 'I' open"):
        build(table, path, "x")
    table["compartments"]["a"]["unit"] = "siemens"
    assert build(table, path, "x").inputs == {"a": units.dimension("siemens")}


def test_derived_constants_of_the_reduction():
    """The gains of the passive three-compartment cell, from its 3 x 3 conductance matrix."""
    constants = load("pyramidal_escape").constants
    g = {name: q.value for name, q in constants.items()}
    matrix = np.array([
        [g["g_L_basal"] + g["g_basal_soma"], -g["g_basal_soma"], 0],
        [-g["g_basal_soma"], g["g_L_soma"] + g["g_basal_soma"] + g["g_soma_apical"],
         -g["g_soma_apical"]],
        [0, -g["g_soma_apical"], g["g_L_apical"] + g["g_soma_apical"]]])
    R = np.linalg.inv(matrix)
    assert g["k_basal"] == pytest.approx(R[1, 0] / R[0, 0], rel=1e-13)
    basal = (g["g_L_basal"] + g["g_basal_soma"]) * R[0, 0]  # k_basal V_b = gamma * V_s for basal I
    assert g["gamma"] == pytest.approx(1 / basal, rel=1e-13)
    assert constants["S"].dimensions == units.dimension("siemens")


def test_the_slow_cell_differs_in_one_line():
    fast, slow = load("pyramidal_rate"), load("pyramidal_rate_slow")
    a, b = ({line.name: text.write(line.tree) for line in cell.lines if line.tree}
            for cell in (fast, slow))
    assert {name for name in a if a[name] != b[name]} == {"v_apical"}
    assert b["v_apical"] == "(g_apical * I_apical - v_apical) / tau_A"
    assert set(slow.parameters) - set(fast.parameters) == {"tau_A"}
    assert fast.variants == {"tau_A": "pyramidal_rate_slow"}


def test_slopes_are_derivatives():
    """dphi of each population of the shipped circuit, against a central difference of phi."""
    circuit = load("dfc_layered")
    for name, cell in circuit.cells.items():
        phi, dphi = (compose.text.inline(cell.expression(f"{f}(v_soma)", "test"), {}, "test")
                     for f in ("phi", "dphi"))
        for v in (-1.3, 0.0, 0.4, 2.0):
            difference = (value(phi, v + 1e-6) - value(phi, v - 1e-6)) / 2e-6
            assert value(dphi, v) == pytest.approx(difference, abs=1e-9), name


def value(tree, v):
    """Return the value of an expression of v_soma."""
    from dfc_neuro.files.dimensions import evaluate

    return evaluate(tree, {"v_soma": v})


def test_a_rule_reads_what_it_declares():
    rule = load("dfc_feedback", "rule")
    assert rule.reads.post == {"apical": "1", "noise_scale": "1"}
    assert rule.reads.pre == {"u_next": "1"}
    assert "w -= A_LTD" in compose.rule_text(load("clopath"))
    with pytest.raises(ModelError, match=r"synapse line 1: unknown name 'rate_pre'"):
        edited("dfc_feedback", "rule", synapse="dw/dt = -eta*apical_post*rate_pre : 1")
    with pytest.raises(ModelError, match="does not read post spikes"):
        edited("clopath", "rule", on_post="w += 1")


def test_layers_expand_as_the_shipped_table():
    path = library.find("dfc_layered")
    table = read(path)
    same = build(table | {"layers": [64, 100, 10]}, path, "x")
    shipped = load("dfc_layered")
    assert same.populations == shipped.populations
    assert same.projections == shipped.projections

    deep = build(table | {"layers": [5, 8, 7, 4]}, path, "x")
    assert {name: p.n for name, p in deep.populations.items()} == {
        "input": 5, "hidden1": 8, "hidden2": 7, "output": 4}
    assert {n: (p.from_, p.to) for n, p in deep.projections.items()} == {
        "W1": ("input.rate", "hidden1.basal"), "W2": ("hidden1.rate", "hidden2.basal"),
        "W3": ("hidden2.rate", "output.basal"), "Q1": ("control.u", "hidden1.apical"),
        "Q2": ("control.u", "hidden2.apical"), "Q3": ("control.u", "output.apical")}
    assert [deep.projections[f"Q{i}"].w for i in (1, 2, 3)] == [
        "xavier_normal", "xavier_normal", "identity"]
    assert deep.cells["output"].functions["phi(x)"] == "x"
    assert deep.cells["hidden2"].functions["phi(x)"] == "tanh(x)"

    shallow = build(table | {"layers": [5, 4]}, path, "x")
    assert {n: (p.from_, p.to) for n, p in shallow.projections.items()} == {
        "W1": ("input.rate", "output.basal"), "Q1": ("control.u", "output.apical")}


def test_a_circuit_of_layers_alone_takes_the_shipped_entries(workdir):
    (workdir / "deep.toml").write_text(
        'kind = "circuit"\nsummary = "three"\nlayers = [3, 4, 5, 2]\ncells = { tau_v = "7 ms" }\n')
    circuit = dn.load("./deep.toml")
    assert [p.n for p in circuit.populations.values()] == [3, 4, 5, 2]
    assert circuit.cells["hidden1"].constants["tau_v"].value == 0.007
    assert circuit.controller_models["control"].name == "pi_leaky"


def test_recurrent_and_skip_projections_are_allowed():
    path = library.find("dfc_layered")
    table = read(path)
    table["projections"] |= {
        "R": {"from": "hidden.rate", "to": "hidden.basal", "w": 0.1},
        "skip": {"from": "input.rate", "to": "output.basal", "connect": {"probability": 0.2}}}
    circuit = build(table, path, "x")
    assert circuit.projections["R"].rule is None
    assert circuit.projections["skip"].connect == {"probability": 0.2}


def test_spiking_projections_take_a_synapse_and_a_scale():
    path = library.find("dfc_layered")
    table = {"kind": "circuit", "summary": "two", "populations": {
        "pv": {"n": 3, "source": "spikes"}, "pyr": {"n": 2, "cell": "pyramidal_escape"}},
        "projections": {"PV": {"from": "pv.spikes", "to": "pyr.soma", "synapse": "gaba_a",
                               "connect": {"probability": 0.3}, "scale": "2 nS", "delay": "1 ms"}}}
    assert build(table, path, "x").synapses["PV"].name == "gaba_a"
    for change, message in [({"scale": "2 pA"}, "the scale does not fit synapse 'gaba_a'"),
                            ({"scale": 1}, "the scale does not fit synapse"),
                            ({"delay": "-1 ms"}, "a delay is a time"),
                            ({"rule": "dfc_forward"}, "cells that do: pyramidal_escape")]:
        wrong = {"PV": table["projections"]["PV"] | change}
        with pytest.raises(ModelError, match=message):
            build(table | {"projections": wrong}, path, "x")


def test_users_files_name_files_beside_them(workdir):
    folder = workdir / "mine"
    folder.mkdir()
    shipped = library.find("pyramidal_rate").read_text()
    (folder / "half.toml").write_text(shipped.replace("g_apical = 1", "g_apical = 0.5"))
    circuit = library.find("dfc_layered").read_text()
    (folder / "net.toml").write_text(circuit.replace('"pyramidal_rate"', '"half"'))
    (workdir / "far.toml").write_text(circuit.replace('"pyramidal_rate"', '"mine/half.toml"'))
    for path in ("mine/net.toml", "./far.toml"):
        cell = dn.load(path).cells["hidden"]
        assert cell.constants["g_apical"].value == 0.5
    assert isinstance(dn.load(folder / "half.toml", "cell"), Cell)


def test_load_checks_the_kind():
    assert isinstance(load("clopath", "rule"), Rule)
    with pytest.raises(ModelError, match="unknown cell"):
        load("clopath", "cell")
    with pytest.raises(ModelError, match="a cell is needed here"):
        load(library.find("clopath"), "cell")


def test_a_cell_gives_brian2_its_equations_and_parameters():
    equations, parameters = load("pyramidal_escape").brian2()
    group = brian2.NeuronGroup(2, equations, method="rk4", name="of_a_user")
    for name, quantity in parameters.items():
        setattr(group, name, quantity)
    group.V_m_soma = -70 * brian2.mV
    group.V_m_basal = -70 * brian2.mV
    group.V_m_apical = -70 * brian2.mV
    network = brian2.Network(group)
    network.run(1 * brian2.ms)
    assert np.allclose(np.asarray(group.V_m_soma), -0.070, atol=1e-12)
