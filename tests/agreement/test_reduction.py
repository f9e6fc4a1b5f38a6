"""Plasticity of the cell of conductances against the rate rule, computed here from its formula."""

import importlib.util

import numpy as np
import pytest

import dfc_neuro as dn


@pytest.fixture(scope="module")
def figure(repository):
    spec = importlib.util.spec_from_file_location(
        "spiking_plasticity", repository / "figures" / "spiking_plasticity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reduction")
    a = dn.run("reduction_a", out=folder / "a.h5", quick=True, progress=False,
               keys={"numerics.dt": "1 ms"})
    b = dn.run("reduction_b", out=folder / "b.h5", progress=False,
               keys={"duration": "10.1 s", "record.plasticity.every": "2.5 s",
                     "record.control.every": "5 s"})
    return {"a": a, "b": b}


def test_a_gain_is_gamma_and_the_correlation_is_that_of_the_rate_rule(figure, results):
    """|Q u| of 1 mV, g_basal_soma up to 5 nS: correlation above .99, gain within 5 % of gamma."""
    result = results["a"]
    for label, gamma in (("0.5 nS, u=2.25", 0.995), ("2 nS, u=2.25", 0.948),
                         ("5 nS, u=2.25", 0.821)):
        Q = result["control"]["w"].sel(condition=label).values[0]
        volts = 2e-3 * np.sqrt(np.mean((2.25 * Q) ** 2))  # V_slope is 2 mV
        assert 0.7e-3 < volts < 1.3e-3
        correlation, gain = figure.test_a(result, label)
        assert correlation > 0.99
        assert gain == pytest.approx(gamma, rel=0.05)


def test_b_from_spikes(figure, results):
    """Poisson inputs, spikes of the cells: above .8 after 10 s."""
    times, correlations, _ = figure.test_b(results["b"])
    assert times[-1] == 10.0
    assert correlations[-1] > 0.8


def test_the_figure_puts_the_gains_on_the_line_of_gamma(figure, results):
    gains = figure.make(results).axes[1]
    drawn = next(line for line in gains.lines if line.get_label() == "1 mV")
    gamma, gain = drawn.get_data()
    assert len(gamma) == 5
    np.testing.assert_allclose(gain[:3], gamma[:3], rtol=0.05)
