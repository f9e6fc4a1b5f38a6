"""The deviation phi(v + x) - phi(v) against numbers of many more digits."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from dfc_neuro.rates import _elementwise
from dfc_neuro.rates.nonlinearities import NONLINEARITIES

DISPLACEMENTS = (-30.0, -12.0, -3.0, -0.5, -1e-3, -1e-9, 1e-9, 1e-3, 0.5, 3.0, 12.0, 30.0)


def exact(name, v):
    """phi(v) with 60 digits, of an exact v."""
    if name == "tanh":
        return 2 / (1 + (-2 * v).exp()) - 1
    if name == "sigmoid":
        return 1 / (1 + (-v).exp())
    low = {"linear": Decimal(1), "relu": Decimal(0), "leaky_relu": Decimal("0.2")}[name]
    return v if v > 0 else low * v


@pytest.mark.parametrize("free", [-10.0, -8.0, -2.0, 0.0, 0.3, 5.0, 9.0])
@pytest.mark.parametrize("name", sorted(NONLINEARITIES))
def test_deviation_is_exact_to_rounding(name, free):
    x = np.array(DISPLACEMENTS)
    v = np.full_like(x, free)
    found = np.empty_like(x)
    phi = NONLINEARITIES[name]
    _elementwise.deviation(phi.code, v, phi.phi(v), x, found)
    with localcontext() as context:
        context.prec = 60
        expected = [float(exact(name, Decimal(free) + Decimal(d)) - exact(name, Decimal(free)))
                    for d in DISPLACEMENTS]
    np.testing.assert_allclose(found, expected, rtol=2e-15, atol=1e-15)


def test_sigmoid_deviation_stays_finite():
    x = np.array([-1e4, -800.0, 800.0, 1e4])
    for dtype in (np.float64, np.float32):
        v = np.full(4, -3.0, dtype)
        r = NONLINEARITIES["sigmoid"].phi(v)
        found = np.empty(4, dtype)
        _elementwise.deviation(NONLINEARITIES["sigmoid"].code, v, r, x.astype(dtype), found)
        np.testing.assert_allclose(found, [-r[0], -r[0], 1 - r[0], 1 - r[0]], rtol=1e-6)
