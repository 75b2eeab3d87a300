from __future__ import annotations

import math

import numpy as np
import pytest

from segmend.audit.distance import contact_area, distances_to, usual_distance


@pytest.mark.parametrize("shape", [(70, 70, 70), (160, 160)])
@pytest.mark.parametrize("shift", [2, 4])
def test_usual_distance_of_a_shift(ball, shape, shift):
    middle = (shape[0] / 2 - 0.5,) * len(shape)
    radius = shape[0] // 3
    true, wide = ball(shape, middle, radius), ball(shape, middle, radius + shift)
    spacing = (2.0,) * len(shape)
    assert usual_distance(wide, true, spacing) == pytest.approx(2 * (shift - 0.5), abs=1.2)
    assert usual_distance(true, true, spacing) == pytest.approx(1.0)


def test_no_distance_without_two_surfaces(ball):
    mask, empty = ball((40, 40), (20, 20), 10), np.zeros((40, 40), dtype=bool)
    assert math.isnan(usual_distance(mask, empty, (1, 1)))
    assert math.isnan(usual_distance(empty, mask, (1, 1)))


@pytest.mark.parametrize("drawn", [True, False])
def test_distances_where_one_surface_is_missing(ball, drawn):
    mask, empty = ball((40, 40), (20, 20), 10), np.zeros((40, 40), dtype=bool)
    to_given, to_predicted = distances_to(*((mask, empty) if drawn else (empty, mask)), (1, 1))
    np.testing.assert_array_equal(to_given, to_predicted)
    assert to_given[20, 20] < 0 < to_given[0, 0]


def test_contact_by_hand():
    first, second = np.zeros((2, 4, 3, 2), dtype=bool)
    first[0, :, :], second[1, 0:2, :] = True, True
    assert contact_area(first, second, (1, 1, 1)) == 4
    assert contact_area(second, first, (5, 2, 3)) == 4 * 2 * 3
