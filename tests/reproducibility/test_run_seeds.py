"""The same seed gives the same bits, another seed others; threads change rounding only."""

import h5py
import numpy as np
import pytest

from dfc_neuro.run import run


def numbers(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]})
                        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" else None)
    return found


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")

    def result(name, seed=0, **keys):
        keys = {"schedule.epochs": 2, "layers": [64, 40, 10], **keys}
        path = folder / f"{name}.h5"
        run(data / "tiny.toml", out=path, seed=seed, keys=keys, progress=False)
        return numbers(path)

    return result


def test_two_epochs_twice(trained):
    one, two, other = trained("one"), trained("two"), trained("other", seed=1)
    assert len(one) > 20
    for name, values in one.items():
        np.testing.assert_array_equal(two[name], values, err_msg=name)
    for name in ("weights/W1", "weights/W2", "weights/Q1", "weights/b1"):
        assert np.abs(other[name] - one[name]).max() > 1e-3
    assert other["measures/test_loss"] != one["measures/test_loss"]


def test_one_thread_and_two(trained):
    """By SGD: the first steps of Adam are signs, which make much of rounding."""
    sgd = {"optimisers.W": {"name": "sgd", "lr": 0.5}, "optimisers.Q": {"name": "sgd", "lr": 1e-3}}
    one, two, again = (trained(f"{n}-{i}", **{"numerics.threads": n, **sgd})
                       for i, n in enumerate((1, 2, 2)))
    for name in ("weights/W1", "weights/W2", "weights/Q1", "weights/Q2", "metrics/train_loss"):
        np.testing.assert_array_equal(again[name], two[name], err_msg=name)
        np.testing.assert_allclose(one[name], two[name], rtol=0,
                                   atol=1e-12 * np.nanmax(np.abs(one[name])), err_msg=name)
