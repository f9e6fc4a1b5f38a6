"""The CA3 cell of Pinsky and Rinzel against the spike times of another implementation."""

import numpy as np

from dfc_neuro import brian
from dfc_neuro.files import resolve
from dfc_neuro.results import Result, Writer

# Open Source Brain's PinskyRinzelModel, NeuroML2/LEMS/.test.fig2.mep (jNeuroML: forward Euler at
# 0.005 ms, crossings of -25 mV): figure 2 A, the first ten of C, and D; ms.
STORED = {
    "weak": [13.76, 16.82, 22.345, 92.52, 96.09, 102.14, 435.655, 439.32, 441.625, 445.515, 932.095,
             935.76, 938.065, 941.955, 1428.55, 1432.22, 1434.525, 1438.415],
    "strong": [7.49, 10.555, 16.28, 37.845, 61.05, 66.96, 84.14, 97.655, 115.84, 120.995],
    "tight": [8.13, 36.92, 65.35, 96.94, 131.815, 170.76, 214.715, 264.88, 322.67, 389.48, 466.13,
              552.05, 645.08, 742.51, 842.245, 943.075, 1044.39, 1145.92, 1247.54, 1349.2, 1450.88],
}


def test_spike_times_of_figure_2(workdir):
    protocol = resolve.protocol("pinsky_rinzel_bursts")
    with Writer("result.h5", {"seed": 0}) as writer:
        brian.record(protocol, writer, 0, progress=False)
    spikes = Result("result.h5").spikes["spikes"]
    for name, stored in STORED.items():
        own = 1e3 * spikes["time"].values[spikes["condition"].values == name]
        assert len(own) == {"weak": 18, "strong": 79, "tight": 21}[name]
        np.testing.assert_allclose(own[: len(stored)], stored, atol=0.02)
