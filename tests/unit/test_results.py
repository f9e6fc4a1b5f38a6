"""Result files: what is written is what is read, by label, here and in xarray."""

import json
import tomllib

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from dfc_neuro.results import Result, Writer, default_path, environment

HEADER = {"protocol": 'kind = "learning"\n[data]\nbatch = 64\n', "model": "n = 3\n", "seed": 7}
DTYPES = st.one_of(
    hnp.floating_dtypes(endianness="?"),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.boolean_dtypes(),
)
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def _write(path):
    values = np.arange(2 * 3 * 4.0).reshape(2, 3, 4)
    with Writer(path, HEADER) as writer:
        for epoch in (0, 5):
            writer.extend(
                "recordings/voltages/v_soma",
                values[None, 0] + epoch,
                ("epoch", "time", "unit"),
                units="1",
                scales={
                    "epoch": [epoch],
                    "time": ([0.0, 0.1, 0.2], "tau_u"),
                    "unit": [3, 1, 4, 9],
                },
            )
            writer.extend("metrics/loss", [0.5 / (epoch + 1)], "epoch", "1", {"epoch": [epoch]})
        writer.put("weights/W1", np.eye(3, 2), ("post", "pre"), "1")
        writer.put("weights/W2", np.ones((4, 3)), ("post", "pre"), "1")
        writer.put("measures/peak", [-62.5, 12.0], ["condition"], "mV", {"condition": ["A", "BAC"]})
        writer.put(
            "measures/settled", [True, False], ["condition"], scales={"condition": ["A", "BAC"]}
        )
        writer.put("measures/error", 2.5, units="%")
        writer.put("spikes/pyr/time", [0.1, 0.4], ["spike"], "s")
        writer.put("spikes/pyr/condition", ["BAC", "BAC"], ["spike"])
    return Result(path)


def test_labels(tmp_path):
    result = _write(tmp_path / "run.h5")
    v = result["voltages"]["v_soma"]
    assert v.dims == ("epoch", "time", "unit")
    assert v.units == "1" and v.coord_units == {"time": "tau_u"}
    assert v.coords["unit"].tolist() == [3, 1, 4, 9]
    assert v.sel(epoch=5, unit=4).values.tolist() == [7.0, 11.0, 15.0]
    assert v.sel(unit=[9, 3], epoch=0, time=0.1).values.tolist() == [7.0, 4.0]
    assert v.sel(time=slice(0.1, 0.2), unit=3, epoch=0).values.tolist() == [4.0, 8.0]
    assert v.isel(epoch=-1, time=0).coords["unit"].tolist() == [3, 1, 4, 9]
    assert result["voltages"].sel(epoch=5)["v_soma"].shape == (3, 4)
    assert result["voltages"].isel(epoch=-1).sel(unit=1)["v_soma"].values.tolist() == [6, 10, 14]
    assert float(result.measures["error"]) == 2.5
    assert float(result.measures["peak"].sel(condition="BAC")) == 12.0
    assert result.measures["settled"].values.tolist() == [True, False]
    assert result["pyr"]["condition"].values.tolist() == ["BAC", "BAC"]
    assert list(result.metrics) == ["loss"] and np.asarray(result.metrics["loss"])[0] == 0.5
    assert result.protocol == {"kind": "learning", "data": {"batch": 64}}
    assert result.model == {"n": 3}
    assert result.attrs["seed"] == 7 and result.attrs["status"] == "done"


def test_file_is_extendable_chunked_compressed(tmp_path):
    _write(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        dataset = file["recordings/voltages/v_soma"]
        assert dataset.maxshape == (None, 3, 4)
        assert dataset.compression == "gzip" and dataset.shuffle and dataset.chunks
        assert dataset.dims[1][0].name == "/recordings/voltages/time"
        assert file.attrs["schema"] == "dfc_neuro result 1"
        assert tomllib.loads(file.attrs["protocol"])["data"] == {"batch": 64}


def test_opens_labelled_in_xarray(tmp_path):
    result = _write(tmp_path / "run.h5")
    path = tmp_path / "run.h5"
    with xarray.open_dataset(path, engine="h5netcdf", group="recordings/voltages") as data:
        assert data.v_soma.dims == ("epoch", "time", "unit")
        assert data.v_soma.sel(epoch=5, unit=4).values.tolist() == [7.0, 11.0, 15.0]
        assert data.v_soma.attrs["units"] == "1" and data.time.attrs["units"] == "tau_u"
        xarray.testing.assert_equal(result["voltages"].to_xarray(), data.load())
    with xarray.open_dataset(path, engine="h5netcdf", group="measures") as data:
        assert float(data.peak.sel(condition="BAC")) == 12.0
        assert data.settled.dtype == bool
        xarray.testing.assert_equal(result.measures.to_xarray(), data.load())
    with xarray.open_dataset(path, engine="h5netcdf", group="weights") as data:
        assert data.W1.shape == (3, 2) and data.W2.shape == (4, 3)
        xarray.testing.assert_equal(result.weights.to_xarray(), data.load())
    assert result["voltages"].sel(unit=9).to_xarray().v_soma.dims == ("epoch", "time")
    assert float(result.measures["peak"].to_xarray().sel(condition="A")) == -62.5


def test_variables_that_disagree_about_a_dim_get_their_own(tmp_path):
    with Writer(tmp_path / "run.h5", HEADER) as writer:
        writer.extend("metrics/loss", [1.0, 2.0, 3.0], ["epoch"], scales={"epoch": [0, 1, 2]})
        writer.extend("metrics/angle", [4.0, 5.0], ["epoch"], scales={"epoch": [0, 2]})
        writer.put("metrics/once", [6.0, 7.0, 8.0], ["epoch"])
    metrics = Result(tmp_path / "run.h5").metrics
    assert metrics["angle"].coords["epoch"].tolist() == [0, 2]
    assert metrics["loss"].coords["epoch"].tolist() == [0, 1, 2]
    assert float(metrics["angle"].sel(epoch=2)) == 5.0 and float(metrics["loss"].sel(epoch=2)) == 3
    with xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf", group="metrics") as data:
        assert sorted(data.sizes.values()) == [2, 3, 3]


@settings(max_examples=40)
@given(values=ARRAYS, pieces=st.integers(1, 3), checkpoint=st.booleans())
def test_any_array_comes_back(tmp_path_factory, values, pieces, checkpoint):
    path = tmp_path_factory.mktemp("r") / "run.h5"
    dims = [f"d{i}" for i in range(values.ndim)]
    with Writer(path, HEADER) as writer:
        writer.put("weights/w", values, dims)
        for part in np.array_split(values, pieces):
            writer.extend("metrics/w", part, dims, scales={"d0": np.arange(len(part))})
            if checkpoint:
                writer.checkpoint({"values": values, "n": 2**70, "x": 0.1, "s": "a\0ä", "b": True})
    result = Result(path)
    for found in (result.weights["w"], result.metrics["w"]):
        assert found.values.dtype == values.dtype
        assert found.values.tobytes() == values.tobytes()
        assert found.dims == tuple(dims)


@settings(max_examples=20)
@given(values=ARRAYS, texts=st.lists(TEXT, min_size=1, max_size=4))
def test_any_state_comes_back(tmp_path_factory, values, texts):
    path = tmp_path_factory.mktemp("r") / "run.h5"
    state = {"a/b": values, "texts": np.array(texts), "text": texts[0] + "\0"}
    state |= {"big": 2**127 - 1, "float": 1e-300, "flag": False, "scalar": np.float32(0.1)}
    rng = np.random.default_rng(3)
    state["rng"] = json.dumps(rng.bit_generator.state)
    with pytest.raises(ZeroDivisionError), Writer(path, HEADER) as writer:
        writer.checkpoint(state)
        raise ZeroDivisionError
    with Writer(path, HEADER, resume=True) as writer:
        back = writer.state
    assert list(back) == list(state)
    assert back["a/b"].dtype == values.dtype and back["a/b"].tobytes() == values.tobytes()
    assert back["texts"].tolist() == texts
    for key in ("text", "big", "float", "flag", "rng"):
        assert back[key] == state[key] and type(back[key]) is type(state[key])
    other = np.random.default_rng(0)
    other.bit_generator.state = json.loads(back["rng"])
    assert other.random() == rng.random()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: w.put("weights/W", np.eye(2), ("post",)), "do not label an array of shape"),
        (lambda w: w.put("W", 1.0), "is named 'group/name'"),
        (lambda w: w.put("a/time", [1.0], ["time"]), "named as its dim"),
        (lambda w: w.put("a/x", [1.0], ["t"], scales={"s": [1]}), "scale 's' is not one of"),
        (lambda w: w.put("a/x", [1.0], ["t"], scales={"t": [1, 2]}), "scale 't' has shape"),
        (lambda w: w.extend("metrics/loss", [1.0], ["step"]), "cannot extend"),
        (lambda w: w.extend("metrics/loss", np.float32([1.0]), ["epoch"]), "cannot extend"),
        (lambda w: w.put("metrics/loss", [1.0], ["epoch"]), "was extended before"),
        (lambda w: w.extend("metrics/x", 1.0, []), "has no dim to extend"),
    ],
)
def test_wrong_calls_are_refused(tmp_path, call, message):
    with Writer(tmp_path / "run.h5", HEADER) as writer:
        writer.extend("metrics/loss", [1.0], ["epoch"])
        with pytest.raises(ValueError, match=message):
            call(writer)


@pytest.mark.parametrize("value", [object(), {"a": 1}, [print], None])
def test_nothing_is_pickled(tmp_path, value):
    with Writer(tmp_path / "run.h5", HEADER) as writer:
        with pytest.raises(TypeError, match=r"numbers or text|number or text"):
            writer.put("measures/x", value)
        with pytest.raises(TypeError, match="number or text"):
            writer.checkpoint({"x": value})
    with pytest.raises(TypeError, match="header 'x'"):
        Writer(tmp_path / "other.h5", HEADER | {"x": [1]})


def test_default_path_follows_description_and_seed():
    path = default_path({"b": 1, "a": {"c": 2.5}}, 3, "quickstart")
    assert path == default_path({"a": {"c": 2.5}, "b": 1}, 3, "folder/quickstart.toml")
    # sha256 of '[{"a":{"c":2.5},"b":1},3]', computed by sha256sum
    assert path.as_posix() == "results/quickstart-40ae3a46b3.h5"
    others = {default_path({"b": 1, "a": {"c": 2.6}}, 3, "quickstart")}
    others |= {default_path({"b": 1, "a": {"c": 2.5}}, 4, "quickstart")}
    assert path not in others and len(others) == 2


def test_environment_names_versions_and_no_host():
    import platform

    found = environment()
    assert found["numpy"] == np.__version__ and found["h5py"] == h5py.__version__
    assert found["host"].startswith(platform.system())
    assert platform.node() not in found["host"] or not platform.node()
