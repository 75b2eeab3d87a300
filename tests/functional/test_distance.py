from __future__ import annotations

import math

import numpy as np
import pytest

from segmend.functional.distance import signed_distance


def test_distance_by_hand():
    mask = np.zeros((7, 1), dtype=bool)
    mask[2:5] = True
    expected = [1.5, 0.5, -0.5, -1.5, -0.5, 0.5, 1.5]
    np.testing.assert_allclose(signed_distance(mask, (1, 1))[:, 0], expected)
    np.testing.assert_allclose(signed_distance(mask, (2, 2))[:, 0], np.multiply(expected, 2))


def test_distance_along_thick_slices():
    mask = np.zeros((1, 1, 4), dtype=bool)
    mask[..., 1:3] = True
    np.testing.assert_allclose(signed_distance(mask, (1, 1, 3))[0, 0], [2.5, -2.5, -2.5, 2.5])


def test_an_object_cut_off_by_the_edge_goes_on_there():
    mask = np.zeros((5, 1), dtype=bool)
    mask[:3] = True
    np.testing.assert_allclose(signed_distance(mask, (1, 1))[:, 0], [-2.5, -1.5, -0.5, 0.5, 1.5])


@pytest.mark.parametrize(("value", "sign"), [(True, -1), (False, 1)])
def test_without_a_surface_all_is_far_from_it(value, sign):
    distance = signed_distance(np.full((3, 4), value), (1, 2))
    np.testing.assert_allclose(distance, sign * math.hypot(3, 8))


def test_memory_order_does_not_matter():
    mask = np.random.default_rng(0).random((6, 5, 4)) > 0.5
    np.testing.assert_array_equal(signed_distance(np.asfortranarray(mask), (1, 2, 3)), signed_distance(mask, (1, 2, 3)))


def test_below_zero_is_the_mask_whatever_the_spacing():
    places = np.indices((12, 10, 8)) * np.reshape((1.0, 1.3, 3.0), (3, 1, 1, 1))
    mask = ((places - np.reshape((5.0, 6.0, 12.0), (3, 1, 1, 1))) ** 2).sum(0) < 36
    distance = signed_distance(mask, (1.0, 1.3, 3.0))
    np.testing.assert_array_equal(distance < 0, mask)
    assert np.abs(distance).min() == pytest.approx(0.5)


def test_diagonals_are_longer():
    box = np.zeros((9, 9), dtype=bool)
    box[3:6, 3:6] = True
    distance = signed_distance(box, (1.0, 1.0))
    assert distance[4, 4] == -1.5
    assert distance[2, 2] == pytest.approx(math.sqrt(2) - 0.5)
