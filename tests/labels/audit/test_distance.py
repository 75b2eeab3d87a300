from __future__ import annotations

import math

import numpy as np
import pytest

from segmend.labels.audit.distance import contact_area, signed_distance, surface_area


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


@pytest.mark.parametrize(("shape", "true"), [((41, 41, 41), 4 * math.pi * 15**2), ((41, 41), 2 * math.pi * 15)])
def test_area_of_a_ball(shape, true, ball):
    mask = ball(shape, (20,) * len(shape), 15)
    assert surface_area(mask, (1,) * len(shape)) == pytest.approx(true, rel=0.04)
    assert surface_area(mask, (2,) * len(shape)) == pytest.approx(true * 2 ** (len(shape) - 1), rel=0.04)


def test_contact_by_hand():
    first, second = np.zeros((2, 4, 3, 2), dtype=bool)
    first[0, :, :], second[1, 0:2, :] = True, True
    assert contact_area(first, second, (1, 1, 1)) == 4
    assert contact_area(second, first, (5, 2, 3)) == 4 * 2 * 3
