"""Published measurements: what a file may hold, and how it is matched to conditions."""

import numpy as np
import pytest

from dfc_neuro.analysis import correlation, depression, potentiation, weight_change
from dfc_neuro.errors import ProtocolError
from dfc_neuro.files import published, resolve
from dfc_neuro.files.library import folder

GOOD = """# source: somebody 1999
frequency,lag,mean,sd,n
0.1 Hz,10 ms,96.9,3.2,
10 Hz,10 ms,115,,7
"""


def test_a_file_is_read_and_matched_by_quantity(workdir):
    (workdir / "mine.csv").write_text(GOOD, encoding="utf-8")
    found = published.read("./mine.csv")
    assert (found.name, found.source) == ("mine", "somebody 1999")
    assert found.find({"frequency": "0.1 hertz", "lag": "0.01 s", "other": 3})[:2] == (96.9, 3.2)
    mean, sd, n = found.find({"frequency": "10 Hz", "lag": "10 ms"})
    assert (mean, n) == (115.0, 7.0) and np.isnan(sd)
    assert np.isnan(found.find({"frequency": "20 Hz", "lag": "10 ms"})).all()
    assert np.isnan(found.find({"frequency": "10 Hz"})).all()


@pytest.mark.parametrize(("old", "new", "message"), [
    ("# source: somebody 1999\n", "", "line 1: the source is missing; write '# source:"),
    ("mean,sd,n", "mean,sd", "header: found 'frequency,lag,mean,sd'"),
    ("96.9", "x", "line 3, mean: found 'x'"), ("96.9", "", "line 3, mean: is missing"),
    ("115,,7", "115,7", "line 4: has 4 columns, the header 5"),
    ("10 ms,96.9", "10 mq,96.9", "line 3, lag: "),
    ("0.1 Hz", "__import__('os')", "line 3, frequency: "),
])
def test_mistakes_are_named_by_line(old, new, message, workdir):
    (workdir / "mine.csv").write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(ProtocolError) as error:
        published.read("./mine.csv")
    assert message in str(error.value)


def test_unknown_data_and_other_files(workdir):
    with pytest.raises(ProtocolError, match="did you mean 'sjostrom2001_frequency'"):
        published.read("sjostrom_frequency", "p.toml: measure.w.data")
    with pytest.raises(ProtocolError, match="there is no such file"):
        published.read("./none.csv")
    (workdir / "mine.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProtocolError, match="no text in UTF-8"):
        published.read("./mine.csv")


@pytest.mark.parametrize("name", [p.stem for p in (folder("protocol") / "data").glob("*.csv")])
def test_every_shipped_measurement_belongs_to_a_condition(name):
    data = published.read(name)
    users = [p for p in map(resolve.protocol, ("clopath_clamp", "stdp_window", "pairing_frequency",
                                               "proximal_distal"))
             if name in {table.get("data") for table in p.measure.values()}]
    assert len(users) == 1 and data.source
    conditions = [{**c.variables, "condition": label.partition(", ")[0]}
                  for label, c in resolve.conditions(users[0])]
    matched = [data.find(c)[0] for c in conditions]
    assert np.isfinite(matched).sum() == len(data.rows)


def test_measures_of_weights_and_of_two_traces():
    time, w = np.arange(5) * 0.1, np.array([0.5, 0.6, 0.4, 0.45, 0.45])
    assert weight_change(time, w, "percent", 10.0) == pytest.approx(0.0)
    assert weight_change(time, w, times=3.0) == pytest.approx(-0.15)
    assert potentiation(time, w) == pytest.approx(0.15)
    assert depression(time, w) == pytest.approx(-0.2)
    x = np.sin(np.arange(200))
    assert correlation(np.arange(200), x, -2 * x) == pytest.approx(-1)
    assert correlation(np.arange(200), x, np.roll(x, 7), 0, 100, 7) == pytest.approx(1)
