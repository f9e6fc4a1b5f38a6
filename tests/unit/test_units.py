"""Quantities, against Brian2's own units."""

import brian2
import pytest
from brian2.core.namespace import DEFAULT_UNITS
from brian2.units.fundamentalunits import get_dimensions
from hypothesis import given
from hypothesis import strategies as st

from dfc_neuro.errors import ModelError
from dfc_neuro.files import units


def dims(value):
    """Return Brian2's dimension of a unit as a tuple."""
    return tuple(get_dimensions(value)._dims)


def test_every_entry_is_brian2s():
    table = units.table()
    assert len(table) > 1000
    for name, (value, dimension) in table.items():
        assert name in DEFAULT_UNITS, name
        assert float(DEFAULT_UNITS[name]) == value, name
        assert dims(DEFAULT_UNITS[name]) == dimension, name


def test_what_brian2_has_and_the_table_has_not_is_light_magnetism_and_litres():
    left_out = {name for name in set(DEFAULT_UNITS) - set(units.table()) if name[-1] not in "23"}
    endings = ("radian", "lumen", "lux", "becquerel", "gray", "sievert", "katal", "weber", "tesla",
               "henry", "candle", "liter", "litre")
    assert {name for name in left_out if not name.endswith(endings)} == set()


@pytest.mark.parametrize(("written", "brian"), [
    ("20 ms", 20 * brian2.ms), ("14e-5 / mV", 14e-5 / brian2.mV),
    ("8e-5 / mV**2", 8e-5 / brian2.mV**2), ("-70.6 mV", -70.6 * brian2.mV),
    ("0.3 mS/cm**2", 0.3 * brian2.msiemens / brian2.cm**2), ("2*nS", 2 * brian2.nS),
    ("10 s", 10 * brian2.second), (".5e1 nA*(ms)", 5 * brian2.nA * brian2.ms),
    ("3 pA*ms**0.5", 3 * brian2.pA * brian2.ms**0.5), ("7", 7.0), (7, 7.0), (-0.25, -0.25),
])
def test_quantities(written, brian):
    found = units.quantity(written, "here")
    assert found.value == pytest.approx(float(brian), rel=1e-15)
    assert found.dimensions == pytest.approx(dims(brian))


@pytest.mark.parametrize(("written", "message"), [
    ("20 mz", "unknown unit 'mz'"), ("20 mvolts", "did you mean 'mvolt'?"),
    ("20 m s", "names with"), ("abc", "a number or a quantity"), ("", "a number or a quantity"),
    ("1e999", "finite"), (float("nan"), "finite"), (True, "a number or a quantity"),
    ([1], "a number or a quantity"), ("2 mV**mV", "a power must be a number"),
    ("2 mV**999", "a power must be a number"), ("2 volt.real", "names with"),
    ("1 (" + "(" * 5000, "too long"), ("1/0", "divided by zero"),
])
def test_refused(written, message):
    with pytest.raises(ModelError) as error:
        units.quantity(written, "x.toml: parameters.a")
    assert str(error.value).startswith("x.toml: parameters.a: ")
    assert message in str(error.value)


@given(st.tuples(*[st.integers(-4, 4)] * 7))
def test_unit_text_is_read_back_by_us_and_by_brian2(exponents):
    exponents = (*exponents[:6], 0)
    text = units.unit_text(exponents)
    assert units.dimension(text) == exponents
    assert dims(brian2.Equations(f"x : {text}")["x"].dim) == exponents


@given(st.floats(-1e6, 1e6), st.sampled_from(["mV", "nS", "ms", "pA", "uF", "khertz", "umetre"]))
def test_value_scales_with_the_unit(number, unit):
    assert units.parse(f"{number!r} {unit}").value == number * units.table()[unit][0]


@pytest.mark.parametrize(("name", "text"), [
    ("volt", "volt"), ("nS", "siemens"), ("hertz", "hertz"), ("pF", "farad"), ("pA", "amp"),
])
def test_common_units_have_their_names(name, text):
    assert units.unit_text(units.table()[name][1]) == text


def test_equation_units_have_no_scale():
    with pytest.raises(ValueError, match="has a scale; write 'volt'"):
        units.dimension("mV")
    with pytest.raises(ValueError, match="unknown unit 'mS'"):
        units.dimension("mS")
