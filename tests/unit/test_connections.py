"""Connection rules: how many synapses, between which units, and what a result file says of them."""

import numpy as np
import pytest

from dfc_neuro import brian
from dfc_neuro.brian import topology
from dfc_neuro.errors import ModelError
from dfc_neuro.files import resolve
from dfc_neuro.files.load import load
from dfc_neuro.files.schema import Population, Projection
from dfc_neuro.results import Result, Writer

CIRCUIT = """
kind = "circuit"
summary = "One projection on itself"
[populations]
cells = {{ n = 40, cell = "pyramidal_escape", extent = ["400 um", "200 um"] }}
other = {{ n = 30, cell = "pyramidal_escape" }}
[projections.P]
from = "cells.spikes"
to = "{to}.soma"
synapse = "gaba_a"
scale = "1 nS"
connect = {connect}
{more}
"""


def drawn(connect, n_to=300, n_from=300, recurrent=True, extent=(), seed=1, k=0):
    seeds = np.random.SeedSequence(seed)
    source = "a" if recurrent else "b"
    p = Projection.model_validate({"from": f"{source}.rate", "to": "a.soma", "connect": connect})
    population = Population(n=n_to, source="rate", extent=extent)
    places = topology.positions({"a": population}, seeds, "here").get("a")
    post, pre, w = topology.draw(p, k, (n_to, n_from), (places, places), {}, seeds, "here")
    assert len(w) == len(post) and (w == 1).all()
    assert len(np.unique(post * n_from + pre)) == len(post)
    return post, pre, places


def circuit(connect, to="cells", more=""):
    with open("c.toml", "w", encoding="utf-8") as file:
        file.write(CIRCUIT.format(connect=connect, to=to, more=more))
    return load("./c.toml", "circuit")


def test_probability(monkeypatch):
    post, pre, _ = drawn({"probability": 0.2})
    assert len(post) == pytest.approx(300**2 * 0.2, abs=4 * np.sqrt(300**2 * 0.16))
    assert (post == pre).any()
    again = drawn({"probability": 0.2})
    np.testing.assert_array_equal(again[1], pre)
    assert not np.array_equal(drawn({"probability": 0.2}, k=1)[1][:50], pre[:50])
    monkeypatch.setattr(topology, "BLOCK", 1000)  # a few rows at a time: the same synapses
    np.testing.assert_array_equal(drawn({"probability": 0.2})[1], pre)


def test_without_autapses():
    post, pre, _ = drawn({"probability": 1.0, "autapses": False}, 50, 50)
    assert len(post) == 50 * 49 and not (post == pre).any()
    post, pre, _ = drawn({"in_degree": 49, "autapses": False}, 50, 50)
    assert len(post) == 50 * 49 and not (post == pre).any()
    post, pre, _ = drawn({"probability": 1.0, "autapses": False}, 50, 50, recurrent=False)
    assert len(post) == 50 * 50  # units of two populations are different ones


def test_in_degree():
    post, pre, _ = drawn({"in_degree": 30}, 2000, 100, recurrent=False)
    np.testing.assert_array_equal(np.bincount(post), np.full(2000, 30))
    # each source is chosen as often as the others: binomial, 2000 draws at 0.3
    np.testing.assert_allclose(np.bincount(pre), 600, atol=4.5 * np.sqrt(2000 * 0.3 * 0.7))
    _, pre, _ = drawn({"in_degree": 30, "autapses": False}, 2000, 2000)
    np.testing.assert_allclose(np.bincount(pre // 200), 6000, atol=5 * np.sqrt(6000))


@pytest.mark.parametrize("profile, extent", [
    ("gaussian", ("1 mm",)), ("exponential", ("0.4 mm", "0.3 mm"))])
def test_distance(profile, extent):
    """Among pairs at a distance the share of synapses is the profile's, within four deviations."""
    n = 500
    connect = {"probability": 0.8, "distance": profile, "length": "100 um"}
    post, pre, places = drawn(connect, n, n, extent=extent)
    assert places.shape == (n, len(extent))
    sides = [float(side.split()[0]) * 1e-3 for side in extent]
    assert (places >= 0).all() and (places <= sides).all()
    np.testing.assert_allclose(places.mean(axis=0), np.array(sides) / 2, rtol=0.12)
    d = np.linalg.norm(places[:, None] - places, axis=2) / 100e-6
    chance = 0.8 * (np.exp(-d) if profile == "exponential" else np.exp(-(d**2) / 2))
    there = np.zeros((n, n))
    there[post, pre] = 1
    for near, far in ((0, 0.5), (0.5, 1), (1, 2), (2, 3)):
        ring = (d >= near) & (d < far)
        sd = np.sqrt((chance * (1 - chance))[ring].sum())
        assert there[ring].sum() == pytest.approx(chance[ring].sum(), abs=4 * sd)


def test_the_result_file_holds_what_was_drawn(workdir):
    circuit('{ probability = 0.3, distance = "gaussian", length = "80 um" }', more="w = 0.7")
    protocol = """
kind = "recording"
summary = "Nothing happens"
on = "c.toml"
duration = "1 ms"
numerics = { dt = "0.5 ms" }
"""
    two = protocol + 'conditions = { one = {}, other = { "projections.P.w" = 0.9 } }'

    def ran(seed, text):
        with open("p.toml", "w", encoding="utf-8") as file:
            file.write(text)
        with Writer("r.h5", {"seed": seed}, force=True) as writer:
            brian.record(resolve.protocol("./p.toml"), writer, seed, progress=False)
        return Result("r.h5")

    result = ran(3, two)
    P = result.connections["P"]
    pre = P["pre"].values
    n = len(pre[0])
    assert P["pre"].dims == ("condition", "synapse") and 50 < n < 40 * 40
    np.testing.assert_array_equal(P["w"].values, np.repeat([[0.7], [0.9]], n, axis=1))
    np.testing.assert_array_equal(P["post"].values[0], P["post"].values[1])
    position = result.positions["cells"]["position"]
    assert position.units == "metre" and position.values.shape == (40, 2)
    same = ran(3, protocol)
    assert same.connections["P"]["pre"].dims == ("synapse",)
    np.testing.assert_array_equal(same.connections["P"]["pre"].values, pre[0])
    different = ran(4, two).connections["P"]["pre"].values
    assert not np.array_equal(different[0][:30], pre[0][:30])


@pytest.mark.parametrize("connect, to, message", [
    ('"random"', "cells", r"connect: found 'random', allowed \"all\", \"one_to_one\""),
    ("{ outdegree = 3 }", "cells", r"connect: found .*allowed .*in_degree = n"),
    ("{ probability = 1.5 }", "cells", r"connect: found .*probability = 0\.\.\.1"),
    ("{ in_degree = 0 }", "cells", r"connect: found .*in_degree = n"),
    ("{ in_degree = 3, length = '1 um' }", "cells", r"connect: unknown key 'length'"),
    ("{ in_degree = 41 }", "cells", r"connect\.in_degree: found 41, 'cells' has 40 units"),
    ("{ in_degree = 40, autapses = false }", "cells", r"in_degree: found 40, 'cells' has 39"),
    ("{ probability = 0.5, distance = 'gaussian' }", "cells", r"connect: found .*length"),
    ("{ probability = 0.5, distance = 'gaussian', length = '1 ms' }", "cells",
     r"connect: found '1 ms', a positive length"),
    ("{ probability = 0.5, distance = 'gaussian', length = '50 um' }", "other",
     r"connect\.distance: the units of 'other' have no positions"),
])
def test_bad_connections_are_refused(workdir, connect, to, message):
    with pytest.raises(ModelError, match=r"c\.toml: projections\.P\.(connect\.)?" + message):
        circuit(connect, to)


@pytest.mark.parametrize("more, message", [
    ('delay = "-1 ms"', r"projections\.P\.delay: found '-1 ms'; a delay is a time"),
    ('delay = "1 mV"', r"projections\.P\.delay: found '1 mV'"),
    ('synapse = "gaba_b"', r"projections\.P\.synapse: .*gaba_b.*gaba_a"),
    ('rule = "dfc_feedback"', r"projections\.P\.rule: rule 'dfc_feedback' reads .* offers no such"),
])
def test_other_bad_projections_are_refused(workdir, more, message):
    text = CIRCUIT.format(connect='"all"', to="cells", more=more)
    if more.startswith("synapse"):
        text = text.replace('synapse = "gaba_a"\n', "")
    with open("c.toml", "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(ModelError, match=message):
        load("./c.toml", "circuit")
