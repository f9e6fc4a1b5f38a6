"""Arrays of layers as parts of one vector: never stale, whatever is done to them."""

import copy
import pickle

import numpy as np
import pytest

from dfc_neuro.rates.flat import joined, split
from dfc_neuro.rates.network import Network

SHAPES = [(2, 3), (4,), (3, 2)]


def parts():
    return split(np.arange(16.0), SHAPES)


def test_parts_of_a_vector_are_joined_without_a_copy():
    some = parts()
    assert [part.shape for part in some] == SHAPES
    some[1][:] = -1.0
    assert joined(some) is some.whole
    np.testing.assert_array_equal(joined(some)[6:10], -1.0)


@pytest.mark.parametrize("change", [
    lambda some: some.__setitem__(1, np.full(4, 7.0)), lambda some: some.reverse(),
    lambda some: some.pop(), lambda some: some.append(np.zeros(1))])
def test_replaced_parts_are_joined_as_they_are(change):
    some = parts()
    change(some)
    np.testing.assert_array_equal(joined(some), np.concatenate([part.ravel() for part in some]))


@pytest.mark.parametrize("copied", [
    copy.copy, copy.deepcopy, lambda some: pickle.loads(pickle.dumps(some)), list])
def test_a_copy_holds_its_own_values(copied):
    some = copied(parts())
    some[0] = some[0] + 1.0
    some[2][...] = 5.0
    np.testing.assert_array_equal(joined(some), np.concatenate([part.ravel() for part in some]))


def test_weights_changed_in_place_are_those_of_the_kernels():
    net = Network([np.eye(2), np.ones((1, 2))], [np.zeros(2), np.zeros(1)],
                  [np.ones((2, 1)), np.eye(1)], ("tanh", "linear")).astype(np.float32)
    net.W[1] *= 3
    np.testing.assert_array_equal(joined(net.W), [1, 0, 0, 1, 3, 3])
    twin = copy.deepcopy(net)
    twin.W[0][:] = 0
    np.testing.assert_array_equal(joined(twin.W), [0, 0, 0, 0, 3, 3])
    np.testing.assert_array_equal(joined(net.W), [1, 0, 0, 1, 3, 3])
