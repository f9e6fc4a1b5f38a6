"""The table [measure] of a recording, evaluated on a file with known traces."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from dfc_neuro import measures
from dfc_neuro.errors import ProtocolError
from dfc_neuro.results import Result, Writer

RECORD = {
    "voltage": SimpleNamespace(what=("V_m_soma", "V_m_apical")),
    "spikes": SimpleNamespace(what=("spikes",)),
}


def _protocol(**measure):
    conditions = [("A", None), ("B", None)]
    return SimpleNamespace(label="p.toml", record=RECORD, measure=measure, _conditions=conditions)


def _write(path, protocol, units=(0, 1)):
    """Two conditions, the second half as long; triangles of one and two peaks."""
    time = np.arange(5) * 0.1
    v = np.array([-0.07, -0.05, -0.07, -0.03, -0.07])
    soma = np.stack([v, np.where(np.arange(5) < 3, v, np.nan)], axis=1)
    soma = np.stack([soma, soma + 0.01], axis=2)[:, :, : len(units)]
    labels = ["A", "B"]
    writer = Writer(path, {"protocol": "", "model": "", "seed": 0})
    with writer:
        scales = {"time": (time, "second"), "condition": labels, "unit": list(units)}
        for name in RECORD["voltage"].what:
            dims = ("time", "condition", "unit")
            writer.extend(f"recordings/voltage/{name}", soma, dims, "volt", scales)
        w = np.array([[[0.5]], [[0.75]]]) * np.ones((1, 2, 1))
        dims = ("time", "condition", "synapse")
        scales = {"time": ([0.0, 0.4], "second"), "condition": labels}
        writer.put("recordings/test/w", w, dims, "1", scales)
        writer.extend("spikes/spikes/time", [0.3, 0.1, 0.2], ["spike"], "second")
        writer.extend("spikes/spikes/condition", ["A", "A", "B"], ["spike"])
        writer.extend("spikes/spikes/unit", [0, 1, 0], ["spike"])
        writer.checkpoint({"done": True})
        writer.finish(derive=partial(measures.measures, protocol))
    return Result(path)


def test_measures_of_traces_spikes_and_weights(tmp_path):
    protocol = _protocol(
        peak={"of": "voltage.V_m_soma"},
        early={"measure": "peak", "of": "voltage.V_m_soma", "to": "150 ms"},
        time_above={"of": "voltage.V_m_apical", "level": "-60 mV"},
        spike_times={"of": "spikes"},
        crossings={"measure": "spike_times", "of": "voltage.V_m_soma", "level": "-60 mV"},
        weight_change={"of": "test", "as": "percent"},
    )
    measures.check_measures(protocol)
    found = _write(tmp_path / "run.h5", protocol).measures
    assert found["peak"].dims == ("condition", "unit") and found["peak"].units == "volt"
    np.testing.assert_allclose(found["peak"].values, [[-0.03, -0.02], [-0.05, -0.04]])
    np.testing.assert_allclose(found["early"].sel(unit=0).values, [-0.05, -0.05])
    # above -60 mV: half of a triangle of 0.2 s, and three quarters of one
    above = found["time_above"].sel(unit=0)
    np.testing.assert_allclose(above.values, [0.1 + 0.15, 0.1])
    assert above.units == "second"
    np.testing.assert_allclose(found["spike_times"].values, [[0.1, 0.3], [0.2, np.nan]])
    assert found["spike_times"].dims == ("condition", "spike")
    assert found["crossings"].shape == (2, 2, 2)
    assert np.isnan(found["crossings"].sel(condition="B", unit=0).values[1])
    assert found["weight_change"].values.tolist() == [150, 150]
    assert (found["weight_change"].dims, found["weight_change"].units) == (("condition",), "%")


def test_a_condition_without_spikes_has_none(tmp_path):
    protocol = _protocol(spike_count={"of": "spikes"})
    protocol._conditions.insert(0, ("silent", None))
    found = _write(tmp_path / "run.h5", protocol).measures["spike_count"]
    assert list(found.coords["condition"]) == ["silent", "A", "B"]
    assert found.values.tolist() == [0, 2, 1]


def test_one_unit_has_no_dim(tmp_path):
    protocol = _protocol(final={"of": "voltage.V_m_soma"})
    found = _write(tmp_path / "run.h5", protocol, units=(3,)).measures
    assert found["final"].dims == ("condition",) and found["final"].values.tolist() == [-0.07] * 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"peak": {}}, r"p.toml: measure.peak: 'of' is missing"),
        ({"peek": {"of": "voltage.V_m_soma"}}, r"measure.peek: unknown measure 'peek'; did you me"),
        ({"peak": {"of": "voltage.V_m_som"}}, "names no variable; did you mean 'V_m_soma'"),
        ({"peak": {"of": "voltage"}}, "measure.peak.of: 'voltage' names no variable"),
        ({"peak": {"of": "spikes"}}, "'peak' needs a trace, not spikes"),
        ({"time_above": {"of": "voltage.V_m_soma"}}, "needs 'level'"),
        ({"time_above": {"of": "voltage.V_m_soma", "level": "-40 mX"}}, "measure.time_above, lev"),
        ({"weight_change": {"of": "test", "as": "persent"}}, "did you mean 'percent'"),
    ],
)
def test_wrong_tables_are_refused_before_the_run(table, message):
    from dfc_neuro.errors import InputError

    with pytest.raises(InputError, match=message) as error:
        measures.check_measures(_protocol(**table))
    assert isinstance(error.value, ProtocolError) or "mX" in str(error.value)
