"""Data that is missing, cut off, of another kind, or asked for in a wrong way."""

import gzip
import urllib.error

import numpy as np
import pytest

from dfc_neuro import registry
from dfc_neuro.datasets._idx import read_idx, write_idx
from dfc_neuro.errors import DataError, InputError

GOOD = bytes.fromhex("00000802 00000002 00000003 010203 040506")


def _load(name, **options):
    return registry.get("datasets", name, "data.name").load(options, None, "p.toml, data")


def _images(folder, **changed):
    """Write a small image set in which some files are replaced by arrays or bytes."""
    arrays = {
        "train-images-idx3-ubyte": np.zeros((40, 3, 3), np.uint8),
        "train-labels-idx1-ubyte": np.zeros(40, np.uint8),
        "t10k-images-idx3-ubyte": np.zeros((10, 3, 3), np.uint8),
        "t10k-labels-idx1-ubyte": np.zeros(10, np.uint8),
    }
    for name, value in changed.items():
        name = next(n for n in arrays if n.startswith(name.replace("_", "-")))
        arrays[name] = value
    for name, value in arrays.items():
        if isinstance(value, bytes):
            (folder / name).write_bytes(value)
        elif value is not None:
            write_idx(folder / name, value)
    return {"folder": str(folder), "validation": 5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is not an IDX file \(it begins with bytes \)"),
        (b"text, not data", "is not an IDX file .* 74 65 78 74"),
        (b"\0\0\x07\x01" + GOOD[4:], "is not an IDX file"),
        (GOOD[:9], "is cut off within its sizes"),
        (GOOD[:-1], r"states the shape \(2, 3\), so 18 bytes, and has 17"),
        (GOOD + b"\0", "so 18 bytes, and has 19"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "states the shape"),
        (gzip.compress(GOOD, mtime=0)[:-9], "is damaged or cut off"),
        (gzip.compress(GOOD, mtime=0)[:14] + b"\xff" * 30, "is damaged or cut off"),
    ],
)
def test_bad_idx(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value) and "download it again" in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"t10k_labels": None}, r"has no t10k-labels-idx1-ubyte \(or .gz\)"),
        ({"train_images": GOOD}, "train-images-idx3-ubyte: holds uint8 of shape .*, not images"),
        ({"train_labels": np.zeros(39, np.uint8)}, "has 39 labels for 40 images"),
        ({"t10k_labels": np.full(10, 10, np.uint8)}, "holds labels other than 0 to 9"),
        ({"t10k_images": np.zeros((10, 2, 3), np.uint8)}, "another size than the training images"),
        ({"train_images": b"\0\0\x08\x03\0"}, "train-images-idx3-ubyte: is cut off"),
    ],
)
def test_bad_image_folder(tmp_path, changed, message):
    with pytest.raises(DataError, match=message):
        _load("mnist", **_images(tmp_path, **changed))


def test_missing_folder(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"there is no folder .*none; set data.folder, or .*openml"):
        _load("mnist", folder=str(tmp_path / "none"))
    with pytest.raises(
        DataError, match=r"say where the IDX files of MNIST are; set data.folder, or"
    ):
        _load("mnist")
    from dfc_neuro.datasets import _images as module

    found = module.SETS["fashion_mnist"]
    moved = module.ImageSet(**{**vars(found), "folder": str(tmp_path / "none")})
    monkeypatch.setitem(module.SETS, "fashion_mnist", moved)
    with pytest.raises(
        DataError, match=r"install Debian's package dataset-fashion-mnist, or set data.source"
    ):
        _load("fashion_mnist")


@pytest.mark.parametrize("error", [urllib.error.URLError("no route"), ValueError("checksum")])
def test_openml_out_of_reach(tmp_path, monkeypatch, error):
    import sklearn.datasets

    def fetch(*args, **options):
        raise error

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(
        DataError, match=r"could not be fetched .*(no route|checksum).* data.folder"
    ):
        _load("mnist", source="openml")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digits", {"tset": 360}, r"p.toml, data, tset: no such option; did you mean 'test'\?"),
        ("digits", {"test": 1797}, "1797 of 1797 samples are held out"),
        ("digits", {"test": 0}, "test needs one sample or more"),
        ("digits", {"test": 3.5}, "3.5 is not a count; give an integer >= 0"),
        ("digits", {"test": True}, "True is not a count"),
        ("digits", {"validation": -1}, "-1 is not a count"),
        ("digits", {"standardise": "pixel"}, "'pixel' is not allowed; give global, none"),
        ("digits", {"stratified": 1}, "'1' is not allowed; give true, false"),
        ("mnist", {"folder": 3}, "3 is not a text"),
        ("mnist", {"source": "web"}, "'web' is not allowed; give folder, openml"),
        ("mnist_autoencoder", {"images": "mnits"}, "no such images 'mnits'; did you mean 'mnist'"),
        ("student_teacher", {"inputs": 0}, "data, inputs: is 0; give an integer > 0"),
        ("student_teacher", {"gain": 3}, "no such option"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(DataError, match=message):
        _load(name, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 40}, "validation: 40 of 40 samples; give less than 40"),
        ({"subset": 36}, "subset: 36 of 35 training samples; give 1 to 35"),
        ({"subset": 0}, "subset: 0 of 35 training samples"),
    ],
)
def test_bad_parts_of_images(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        _load("mnist", **(_images(tmp_path) | options))


def test_unknown_dataset():
    with pytest.raises(InputError, match=r"unknown dataset 'digit'; did you mean 'digits'\?"):
        registry.get("datasets", "digit", "p.toml, data.name")
