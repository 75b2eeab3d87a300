from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segmend.functional.polygons import filled, outlines


def square(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)


def pixels(mask):
    return {tuple(index) for index in np.argwhere(mask).tolist()}


def test_a_pixel_belongs_to_a_polygon_around_its_centre():
    mask = filled([square(0.6, 1.4, 2.4, 3.1)], (5, 6))
    assert mask.shape == (5, 6)
    assert pixels(mask) == {(1, 2), (1, 3), (2, 2), (2, 3)}


def test_a_triangle_by_hand():
    # Inside are x >= 0, y >= 0 and x + y < 3.
    assert pixels(filled([np.array([[0, 0], [3, 0], [0, 3.0]])], (5, 5))) == {
        *((0, 0), (1, 0), (2, 0)),
        *((0, 1), (1, 1), (0, 2)),
    }


def test_a_centre_on_an_edge_belongs_to_one_of_two_neighbours():
    left, right = filled([square(0, 0, 2, 4)], (6, 6)), filled([square(2, 0, 4, 4)], (6, 6))
    assert pixels(left) == {(x, y) for x in (0, 1) for y in range(4)}
    assert pixels(right) == {(x, y) for x in (2, 3) for y in range(4)}


def test_a_polygon_within_another_is_a_hole_and_a_polygon_within_that_an_object():
    rings = [square(-0.5, -0.5, 6.5, 6.5), square(0.5, 0.5, 5.5, 5.5), square(1.5, 1.5, 4.5, 4.5)]
    mask = filled(rings, (8, 8))
    assert mask.sum() == 49 - 25 + 9
    assert not mask[1, 1]
    assert mask[3, 3]


@pytest.mark.parametrize("direction", [1, -1])
def test_the_direction_of_a_polygon_does_not_matter(direction):
    assert filled([square(0.5, 0.5, 3.5, 2.5)[::direction]], (5, 5)).sum() == 6


def test_what_lies_outside_is_cut_off():
    assert filled([square(-9.3, -7.2, 1.5, 40)], (4, 3)).sum() == 2 * 3
    assert not filled([square(10, 10, 12, 12), square(-9, -9, -5, -5)], (4, 3)).any()
    assert not filled([], (4, 3)).any()


def test_outline_of_one_pixel():
    (polygon,) = outlines(np.pad([[True]], 2))
    assert {tuple(vertex) for vertex in polygon.tolist()} == {(1.5, 2), (2.5, 2), (2, 1.5), (2, 2.5)}


def test_an_outline_has_no_vertices_on_straight_lines():
    (polygon,) = outlines(np.pad(np.ones((30, 20), bool), 3))
    assert len(polygon) == 8  # the corners are cut


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_outlines_filled_give_the_same_mask(mask):
    np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)


@given(arrays(bool, (7, 6)), st.integers(0, 2**32 - 1))
def test_rounded_coordinates_give_the_same_mask(mask, seed):
    noise = np.random.default_rng(seed)
    polygons = [polygon + noise.uniform(-1e-4, 1e-4, polygon.shape) for polygon in outlines(mask)]
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 7]))
def test_two_sides_of_a_cut_share_no_pixel_and_lack_none(seed, steps):
    # Corners on pixel centres and on thirds and sevenths of pixels; the parts of a convex polygon on both sides.
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, 6))
    corners = np.round(steps * (8 + 7 * np.column_stack([np.cos(angles), np.sin(angles)]))) / steps
    one, other = (filled([part], (17, 17)) for part in (corners[:4], corners[[3, 4, 5, 0]]))
    assert not (one & other).any()
    np.testing.assert_array_equal(one | other, filled([corners], (17, 17)))
