"""gamma, what is left of the control in soma minus basal prediction, and what a weight of 1 is."""

import numpy as np
import pytest

from dfc_neuro.errors import ModelError
from dfc_neuro.files import load
from dfc_neuro.files.circuits import build_circuit

CIRCUIT = load("dfc_spiking", "circuit")


def circuit(**cells):
    source = CIRCUIT.source | {"cells": cells}
    return build_circuit(source, CIRCUIT.path, "test")


def inverse(constants):
    """Return the inverse of the conductance matrix (basal, soma, apical), from the equations."""
    q = {name: value.value for name, value in constants.items()}
    bs, sa, back = q["g_basal_soma"], q["g_soma_apical"], q["back_coupling"]
    return np.linalg.inv([
        [q["g_L_basal"] + back * bs, -back * bs, 0.0],
        [-bs, q["g_L_soma"] + bs + sa, -sa],
        [0.0, -sa, q["g_L_apical"] + sa]])


@pytest.mark.parametrize("back", [0, 0.3, 1])
@pytest.mark.parametrize(("g", "printed"), [(0.5, 0.995), (2, 0.948), (5, 0.821), (20, 0.448),
                                            (120, 0.107)])
def test_gamma_and_units_are_those_of_the_inverse_matrix(g, printed, back):
    made = circuit(g_basal_soma=f"{g} nS", back_coupling=back)
    cell = made.cells["hidden"]
    R, found = inverse(cell.constants), {n: q.value for n, q in cell.constants.items()}
    b, s, a = 0, 1, 2
    gamma = 1 - R[s, b] * R[b, s] / (R[s, s] * R[b, b])
    assert found["gamma"] == pytest.approx(gamma, rel=1e-12)
    if back == 1:  # 1 - R_sb^2/(R_ss R_bb)
        assert found["gamma"] == pytest.approx(printed, abs=5e-4)
    if back == 0:
        assert found["gamma"] == 1.0
    assert found["k_basal"] == pytest.approx(R[s, b] / R[b, b], rel=1e-12)
    assert made.scale("W1").value == pytest.approx(2e-3 / R[s, b], rel=1e-12)  # V_slope
    assert made.scale("Q1").value == pytest.approx(2e-3 / R[s, a], rel=1e-12)


@pytest.mark.parametrize(("table", "message"), [
    ({"axon": {"rate": "trace*mV : volt"}}, "axon.rate: the cell offers no 'rate' in volt"),
    ({"axon": {"rat": "trace : 1"}}, "axon.rat: the cell offers no 'rat'"),
    ({"axon": {"rate": "tracee : 1"}}, "axon.rate: unknown name 'tracee'"),
])
def test_an_axon_sends_what_the_cell_offers(table, message, tmp_path):
    import tomli_w

    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(load("pyramidal_escape", "cell").source | table))
    with pytest.raises(ModelError) as error:
        load(str(path))
    assert message in str(error.value)


def test_a_scale_in_the_wrong_unit_and_copies_of_a_cell_without_spikes(tmp_path):
    import copy

    import tomli_w

    source = copy.deepcopy(load("pyramidal_escape", "cell").source)
    source["compartments"]["basal"]["scale"] = "V_slope"
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(source))
    with pytest.raises(ModelError, match=r"compartments.basal.scale: .*volt, amp is needed"):
        load(str(path))
    table = copy.deepcopy(load("dfc_layered", "circuit").source)
    table["populations"]["hidden"]["cells_per_unit"] = 5
    with pytest.raises(ModelError, match=r"hidden.cells_per_unit: found 5, but cell "
                                         r"'pyramidal_rate' does not spike"):
        build_circuit(table, CIRCUIT.path, "test")
