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
    a = dn.run("reduction_a", out=folder / "a.h5", progress=False,
               keys={"numerics.dt": "1 ms", "over.u": [0.45, 2.25]})
    b = dn.run("reduction_b", out=folder / "b.h5", progress=False,
               keys={"duration": "10.1 s", "record.plasticity.every": "2.5 s",
                     "record.control.every": "5 s"})
    return {"a": a, "b": b}


@pytest.mark.parametrize(("u", "least", "most"), [(0.45, 0.14e-3, 0.26e-3),
                                                  (2.25, 0.7e-3, 1.3e-3)])
@pytest.mark.parametrize(("coupling", "gamma"), [("0.5 nS", 0.995), ("2 nS", 0.948),
                                                 ("5 nS", 0.821)])
def test_a_gain_is_gamma_and_the_correlation_is_that_of_the_rate_rule(
        coupling, gamma, u, least, most, figure, results):
    """|Q u| of 0.2 and 1 mV: correlation above .99, gain within 5 % of gamma."""
    result, label = results["a"], f"{coupling}, u={u}"
    Q = result["control"]["w"].sel(condition=label).values[0]
    assert least < 2e-3 * np.sqrt(np.mean((u * Q) ** 2)) < most  # volt; V_slope is 2 mV
    correlation, gain = figure.test_a(result, label)
    assert correlation > 0.99
    assert gain == pytest.approx(gamma, rel=0.05)


def test_b_from_spikes(figure, results):
    """Poisson inputs, spikes of the cells: above .8 after 10 s."""
    times, correlations, _ = figure.test_b(results["b"])
    assert times[-1] == 10.0
    assert correlations[-1] > 0.8


def test_the_figure_puts_the_gains_on_the_line_of_gamma(figure, results):
    lines = figure.make(results).axes[1].lines
    for label in ("0.2 mV", "1 mV"):
        gamma, gain = next(line for line in lines if line.get_label() == label).get_data()
        assert len(gamma) == 5
        np.testing.assert_allclose(gain[:3], gamma[:3], rtol=0.05)
