"""Datasets: what comes in is what is on disk, standardised and split as said."""

import gzip
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from dfc_neuro import registry
from dfc_neuro.datasets import _images, digits, student_teacher
from dfc_neuro.datasets._dataset import check_sizes, minibatches, split_indices
from dfc_neuro.datasets._idx import read_idx, write_idx
from dfc_neuro.errors import DataError


def write_images(folder, n=60, n_test=12, ending="", side=4):
    """Write a small set of the layout of MNIST; return its training images and labels."""
    rng = np.random.default_rng(5)
    arrays = []
    for stem, count in (("train", n), ("t10k", n_test)):
        images = rng.integers(0, 256, (count, side, side), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(folder / f"{stem}-images-idx3-ubyte{ending}", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte{ending}", labels)
        arrays += [images, labels]
    return arrays


def test_all_are_registered():
    assert set(registry.names("datasets")) == {
        "digits",
        "fashion_mnist",
        "mnist",
        "mnist_autoencoder",
        "student_teacher",
    }


def test_digits_equal_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    data = digits.load({"standardise": "none", "validation": 100}, 1, "data")
    assert (len(data.train), len(data.validation), len(data.test)) == (1337, 100, 360)
    rows = np.concatenate([data.train.x, data.validation.x, data.test.x])
    classes = np.concatenate([data.train.y, data.validation.y, data.test.y])
    found = np.column_stack([rows, classes])
    known = np.column_stack([pixels, labels])
    assert np.array_equal(found[np.lexsort(found.T)], known[np.lexsort(known.T)])
    assert data.train.y.dtype == np.int64 and data.n_inputs == 64 and data.n_outputs == 10


def test_digits_have_one_mean_and_deviation_and_their_classes_everywhere():
    data = digits.load({"name": "digits", "batch": 64}, None, "data")
    assert (len(data.train), data.validation, len(data.test)) == (1437, None, 360)
    assert abs(data.train.x.mean()) < 1e-13 and abs(data.train.x.std() - 1) < 1e-13
    raw = digits.load({"standardise": "none"}, None, "data")
    mean, deviation = raw.train.x.mean(), raw.train.x.std()
    np.testing.assert_allclose(data.test.x, (raw.test.x - mean) / deviation, atol=1e-14)
    share = np.bincount(data.test.y) / 360 - np.bincount(data.train.y) / 1437
    assert np.abs(share).max() < 1 / 360


@pytest.mark.parametrize("stratified", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 42])
def test_digits_split_is_that_of_scikit_learn(seed, stratified):
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    known = train_test_split(
        pixels, labels, test_size=360, random_state=seed, stratify=labels if stratified else None
    )
    options = {"standardise": "none", "split_seed": seed, "stratified": stratified}
    data = digits.load(options, None, "data")
    found = (data.train.x, data.test.x, data.train.y, data.test.y)
    for mine, theirs in zip(found, known, strict=True):
        assert np.array_equal(mine, theirs)


def test_digits_split_depends_on_split_seed_only():
    first, same = (digits.load({}, seed, "data") for seed in (1, 2))
    other = digits.load({"split_seed": 1}, 1, "data")
    assert np.array_equal(first.test.x, same.test.x)
    assert not np.array_equal(first.test.x, other.test.x)


def test_digits_are_read_without_scikit_learn(monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    assert metadata.version("scikit-learn")
    digits.load({}, None, "data")
    assert "sklearn" not in sys.modules
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    fallback = digits.load({}, None, "data")
    assert "sklearn" in sys.modules
    monkeypatch.undo()
    assert np.array_equal(fallback.test.x, digits.load({}, None, "data").test.x)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "mean", "deviation"), [("mnist", 0.1307, 0.3081), ("fashion_mnist", 0.0, 1.0)]
)
def test_images_from_a_folder(tmp_path, ending, name, mean, deviation):
    images, labels, test_images, _ = write_images(tmp_path, ending=ending)
    options = {"folder": str(tmp_path), "validation": 10}
    data = registry.get("datasets", name, "data").load(options, 3, "data")
    assert (len(data.train), len(data.validation), len(data.test)) == (50, 10, 12)
    np.testing.assert_allclose(
        data.test.x, (test_images.reshape(12, 16) / 255 - mean) / deviation, rtol=0, atol=1e-15
    )
    grey = np.concatenate([data.train.x, data.validation.x]) * deviation + mean
    found = np.column_stack(
        [np.rint(grey * 255), np.concatenate([data.train.y, data.validation.y])]
    )
    known = np.column_stack([images.reshape(60, 16), labels])
    assert np.array_equal(found[np.lexsort(found.T)], known[np.lexsort(known.T)])
    again = registry.get("datasets", name, "data").load(options | {"subset": 20}, 4, "data")
    assert np.array_equal(again.train.x, data.train.x[:20])
    assert np.array_equal(again.validation.x, data.validation.x)


@pytest.mark.parametrize(
    ("name", "mean", "deviation"), [("mnist", 0.1307, 0.3081), ("fashion_mnist", 0.0, 1.0)]
)
def test_images_stay_bytes_until_they_are_asked_for(tmp_path, name, mean, deviation):
    write_images(tmp_path)
    data = registry.get("datasets", name, "data").load({"folder": str(tmp_path), "validation": 10},
                                                       0, "data")
    for part in (data.train, data.validation, data.test):
        assert part.stored_x.nbytes == 16 * len(part)
        rows = np.arange(len(part))[::3]
        grey = part.stored_x[rows].astype(np.float64)
        whole = (grey / 255.0 - mean) / deviation  # as whole sets were standardised before
        some = part.part(rows)
        assert np.array_equal(some.inputs(), whole) and np.array_equal(some.x, whole)
        narrow = some.inputs(np.float32)
        assert narrow.dtype == np.float32 and np.array_equal(narrow, whole.astype(np.float32))
        assert np.array_equal(some.targets(np.float32), part.y[rows])
        assert some.targets(np.float32).dtype == np.int64


def test_autoencoder_target_is_its_input(tmp_path):
    write_images(tmp_path)
    options = {"folder": str(tmp_path), "validation": 10}
    load = registry.get("datasets", "mnist_autoencoder", "data").load
    data = load(options, None, "data")
    mnist = registry.get("datasets", "mnist", "data").load(options, None, "data")
    assert np.array_equal(data.train.y, mnist.train.x)
    assert data.train.stored_y is data.train.stored_x
    assert data.train.targets(np.float32).dtype == np.float32
    assert (data.n_inputs, data.n_outputs, data.loss_kind) == (16, 16, "mse")
    fashion = load(options | {"images": "fashion_mnist"}, None, "data")
    np.testing.assert_allclose(fashion.test.y, mnist.test.x * 0.3081 + 0.1307, atol=1e-15)


def test_openml_is_asked_once_and_cached(tmp_path, monkeypatch):
    import sklearn.datasets

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (70000, 784), dtype=np.uint8)
    labels = (np.arange(70000) % 10).astype(str)
    calls = []

    def fetch(name, **options):
        calls.append((name, options))
        return SimpleNamespace(data=grey.astype(float), target=labels.astype(object))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    for _ in range(2):
        data = _images.load_images("mnist", {"source": "openml", "subset": 100}, "data")
    assert [name for name, _ in calls] == ["mnist_784"] and calls[0][1]["version"] == 1
    assert len(data.train) == 100 and len(data.validation) == 5000
    expected = (grey[60000:60010] / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(data.test.x[:10], expected, rtol=0, atol=1e-15)
    assert sorted(p.name for p in (tmp_path / "dfc_neuro" / "mnist").iterdir())[0].endswith(".gz")


def test_debian_folder_is_found_by_itself(tmp_path, monkeypatch):
    found = _images.SETS["fashion_mnist"]
    assert found.folder == "/usr/share/datasets/fashion-mnist"
    write_images(tmp_path)
    moved = _images.ImageSet(**{**vars(found), "folder": str(tmp_path)})
    monkeypatch.setitem(_images.SETS, "fashion_mnist", moved)
    assert len(_images.load_images("fashion_mnist", {"validation": 10}, "data").train) == 50
    if Path(found.folder).is_dir():
        images = read_idx(Path(found.folder) / "train-images-idx3-ubyte.gz")
        assert images.shape == (60000, 28, 28)
        # mean grey value of the training images as its authors publish it: 0.2860
        assert round(float(images[:10000].mean() / 255), 2) == 0.29


def test_student_teacher():
    data = student_teacher.load({"outputs": 3, "width": 200}, 4, "data")
    assert data.train.x.shape == (5000, 15) and data.train.y.shape == (5000, 3)
    assert len(data.validation) == len(data.test) == 1000 and data.loss_kind == "mse"
    assert -1 <= data.train.x.min() < -0.999 and 0.999 < data.train.x.max() < 1
    # moments of U(-1, 1), within 4 standard errors of 75,000 numbers
    assert abs(data.train.x.mean()) < 4 * np.sqrt(1 / 3 / 75000)
    assert abs(data.train.x.var() - 1 / 3) < 4 * np.sqrt(4 / 45 / 75000)
    same, other = (student_teacher.load({"outputs": 3, "width": 200}, s, "data") for s in (4, 5))
    assert np.array_equal(same.test.y, data.test.y)
    assert not np.array_equal(other.test.x, data.test.x)


def test_teacher_is_deep_rectified_with_gain_three():
    # one hidden layer and one input: y is piecewise linear with one kink at 0,
    # and y(1)**2 has the mean 9 * 2/(1+m) * m/2 * 9 * 2/(m+1) over teachers
    m = 400
    squares = []
    for seed in range(200):
        options = {"inputs": 1, "outputs": 1, "width": m, "depth": 1, "train": 50, "test": 1}
        data = student_teacher.load(options | {"validation": 0}, seed, "data")
        slopes = data.train.y / data.train.x
        up, down = slopes[data.train.x > 0], slopes[data.train.x < 0]
        assert np.ptp(up) < 1e-9 * np.abs(up).max() and np.ptp(down) < 1e-9 * np.abs(down).max()
        squares += [up[0] ** 2, down[0] ** 2]
    expected = 9 * 2 / (1 + m) * m / 2 * 9 * 2 / (m + 1)
    assert abs(np.mean(squares) / expected - 1) < 4 * np.sqrt(2 / 400)


def test_teacher_of_rates_is_centred():
    # inputs lie about 1/2, and y - 1/2 is an odd function of x - 1/2; with one input the slope of
    # logit(y) at 1/2 is sum(w2 w1)/4, whose square has the mean 9 * 2/(1+m) * m/16 * 9 * 2/(m+1)
    m, squares = 40, []
    for seed in range(200):
        options = {"inputs": 1, "outputs": 1, "width": m, "depth": 1, "train": 4000, "test": 1,
                   "validation": 0, "units": "sigmoid"}
        train = student_teacher.load(options, seed, "data").train
        x, y = train.x.ravel() - 0.5, train.y.ravel()
        assert x.min() >= -0.5 and x.max() <= 0.5 and y.min() > 0 and y.max() < 1
        assert abs(y.mean() - 0.5) < 5 * y.std() / np.sqrt(len(y))
        nearest = np.argmax(np.where(np.abs(x) < 0.02, np.abs(x), 0))
        squares.append((np.log(y[nearest] / (1 - y[nearest])) / x[nearest]) ** 2)
    expected = 9 * 2 / (1 + m) * m / 16 * 9 * 2 / (m + 1)
    assert abs(np.mean(squares) / expected - 1) < 4 * np.sqrt(2 / 200)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.data(), st.booleans())
def test_splits_are_disjoint_and_complete(labels, data, stratified):
    labels = np.array(labels)
    part = data.draw(st.integers(0, len(labels)))
    seed = data.draw(st.integers(0, 9))
    rest, chosen = split_indices(labels, part, seed, stratified=stratified)
    assert len(chosen) == part
    assert sorted([*rest, *chosen]) == list(range(len(labels)))
    if stratified:
        for c in np.unique(labels):
            exact = part * np.mean(labels == c)
            assert abs(np.sum(labels[chosen] == c) - exact) < 1


@given(st.integers(0, 200), st.integers(1, 50), st.integers(0, 9))
def test_minibatches_cover_everything_once(n, batch, seed):
    parts = list(minibatches(n, batch, np.random.default_rng(seed)))
    assert sorted(np.concatenate([*parts, np.array([], int)])) == list(range(n))
    assert all(len(p) == batch for p in parts[:-1]) and len(parts) == -(-n // batch)


@settings(max_examples=50)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    st.booleans(),
)
def test_idx_round_trip(tmp_path_factory, array, zipped):
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if zipped else "a")
    write_idx(path, array)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == zipped
    found = read_idx(path)
    assert found.shape == array.shape
    assert found.astype(array.dtype).tobytes() == array.tobytes()


def test_idx_of_known_bytes(tmp_path):
    (tmp_path / "a").write_bytes(
        gzip.compress(bytes.fromhex("00000802 00000002 00000003 010203 0405ff"))
    )
    assert read_idx(tmp_path / "a").tolist() == [[1, 2, 3], [4, 5, 255]]


def test_check_sizes():
    data = student_teacher.load({"width": 5, "depth": 1}, 0, "data")
    check_sizes(data, (15, 10, 5), "quickstart.toml, layers")
    with pytest.raises(DataError, match=r"10 inputs, the data 15; use layers = \[15, 10, 5\]"):
        check_sizes(data, (10, 10, 5), "quickstart.toml, layers")
    with pytest.raises(DataError, match=r"quickstart.toml, layers: the network has 3 outputs"):
        check_sizes(data, (15, 10, 3), "quickstart.toml, layers")
