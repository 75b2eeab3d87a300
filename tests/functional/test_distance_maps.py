from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.distance_maps import signed_distance_maps

HALF = 1 / math.sqrt(2)


def map_of(rows: list) -> torch.Tensor:
    """The map of class 1 in the label of one sample."""
    return signed_distance_maps(torch.tensor([rows]), 2)[0, 0]


class TestByHand:
    def test_of_a_square(self):
        square = torch.zeros(5, 5, dtype=torch.long)
        square[1:4, 1:4] = 1
        expected = [
            [1, HALF, HALF, HALF, 1],
            [HALF, 0, 0, 0, HALF],
            [HALF, 0, -1, 0, HALF],
            [HALF, 0, 0, 0, HALF],
            [1, HALF, HALF, HALF, 1],
        ]
        assert_close(map_of(square.tolist()), torch.tensor(expected))

    def test_of_an_object_that_is_cut_off_by_the_edge(self):
        assert_close(map_of([[1, 1, 0, 0]] * 4), torch.tensor([[-1.0, 0.0, 0.5, 1.0]] * 4))

    def test_in_one_dimension(self):
        expected = torch.tensor([1, 2 / 3, 1 / 3, 0, -1, -1, 0, 1 / 3])
        assert_close(map_of([0, 0, 0, 1, 1, 1, 1, 0]), expected)

    def test_of_an_object_that_is_all_boundary(self):
        assert map_of([0, 1, 0, 0]).tolist() == [0.5, 0, 0.5, 1]

    @pytest.mark.parametrize("value", [0, 1, IGNORE], ids=["empty", "full", "unknown"])
    def test_without_a_boundary_it_is_0(self, value):
        assert not map_of([[value] * 3] * 3).any()


class TestClasses:
    def test_each_has_a_map(self):
        label = torch.tensor([[0, 0, 1, 1, 2, 2, 0]])
        maps = signed_distance_maps(label, 4)
        assert maps.shape == (1, 3, 7)
        assert maps.dtype == torch.float32
        assert_close(maps[:, :1], signed_distance_maps((label == 1).long(), 2))
        assert_close(maps[:, 1:2], signed_distance_maps((label == 2).long(), 2))
        assert not maps[:, 2].any()

    def test_samples_are_independent(self):
        label = torch.tensor([[0, 0, 1], [1, 0, 0]])
        assert_close(signed_distance_maps(label, 2), signed_distance_maps(label.flip(0), 2).flip(0))

    def test_unknown_voxels_are_outside(self):
        assert_close(map_of([0, 1, 1, IGNORE]), map_of([0, 1, 1, 0]))


@given(arrays(np.bool_, st.tuples(st.integers(2, 5), st.integers(2, 5), st.integers(2, 5))))
def test_agrees_with_scipy(inside):
    """In three dimensions, with its distances and with the faces of its smallest neighbourhood."""
    found = signed_distance_maps(torch.from_numpy(inside).long()[None], 2)[0, 0].numpy()
    if inside.all() or not inside.any():
        assert not found.any()
        return
    boundary = inside & ~ndimage.binary_erosion(inside, border_value=1)
    outward, inward = ndimage.distance_transform_edt(~inside), ndimage.distance_transform_edt(inside)
    assert_close(found > 0, ~inside)
    assert_close(found == 0, boundary)
    np.testing.assert_allclose(found[~inside], (outward / outward.max())[~inside], atol=1e-5)
    deep = inside & ~boundary
    np.testing.assert_allclose(found[deep], -(inward / inward.max())[deep], atol=1e-5)


@given(arrays(np.bool_, (4, 5)), st.integers(0, 3))
def test_turns_with_the_label(inside, turns):
    label = torch.from_numpy(inside).long()[None]
    turned = signed_distance_maps(label.rot90(turns, (1, 2)), 2)
    assert_close(turned, signed_distance_maps(label, 2).rot90(turns, (2, 3)), atol=1e-6, rtol=0)
