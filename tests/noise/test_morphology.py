from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from segmend.noise.morphology import dilate, erode, shift_surface

Mask = NDArray[np.bool_]


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """From a few voxels to all of them; most touch the edges of the array."""
    shape = draw(st.lists(st.integers(1, 18), min_size=2, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    mask = rng.random(shape) < draw(st.sampled_from([0.01, 0.3, 0.9, 0.99, 1.0]))
    if draw(st.booleans()):
        mask = np.asfortranarray(mask)[:, ::-1]
    return mask


@settings(max_examples=100)
@given(masks(), st.integers(1, 16))
def test_equals_scipy_bit_for_bit(mask: Mask, side: int) -> None:
    before, cube = mask.copy(), np.ones([side] * mask.ndim)
    np.testing.assert_array_equal(dilate(mask, side), ndimage.binary_dilation(mask, cube))
    np.testing.assert_array_equal(erode(mask, side), ndimage.binary_erosion(mask, cube))
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("side", range(1, 17))
@pytest.mark.parametrize("dimensions", [2, 3])
def test_equals_scipy_at_every_side_away_from_the_edges(side: int, dimensions: int) -> None:
    mask = np.zeros([40, 36, 34][:dimensions], dtype=bool)
    mask[tuple(slice(9, 27) for _ in range(dimensions))] = True
    mask[tuple(slice(16, 19) for _ in range(dimensions))] = False
    cube = np.ones([side] * dimensions)
    np.testing.assert_array_equal(dilate(mask, side), ndimage.binary_dilation(mask, cube))
    np.testing.assert_array_equal(erode(mask, side), ndimage.binary_erosion(mask, cube))


@pytest.mark.parametrize(("side", "lower", "higher"), [(1, 0, 0), (3, 1, 1), (4, 2, 1), (15, 7, 7), (16, 8, 7)])
def test_how_far_a_square_of_21_voxels_grows_and_shrinks(side: int, lower: int, higher: int) -> None:
    mask = np.zeros((41, 41), dtype=bool)
    mask[10:31, 10:31] = True
    grown, shrunk = np.zeros_like(mask), np.zeros_like(mask)
    grown[10 - lower : 31 + higher, 10 - lower : 31 + higher] = True
    shrunk[10 + lower : 31 - higher, 10 + lower : 31 - higher] = True
    np.testing.assert_array_equal(dilate(mask, side), grown)
    np.testing.assert_array_equal(erode(mask, side), shrunk)


@settings(max_examples=60)
@given(masks(), st.floats(0.1, 6), st.lists(st.sampled_from([0.5, 0.7, 1.0, 2.5]), min_size=3, max_size=3))
def test_the_surface_moves_by_a_distance_in_mm(mask: Mask, distance: float, sides: list[float]) -> None:
    spacing = sides[: mask.ndim]
    surrounded = np.pad(mask, 1)
    to_object = ndimage.distance_transform_edt(~mask, sampling=spacing)
    to_outside = ndimage.distance_transform_edt(surrounded, sampling=spacing)[(slice(1, -1),) * mask.ndim]
    outward = to_object <= distance * (1 + 1e-6) if mask.any() else mask
    np.testing.assert_array_equal(shift_surface(mask, distance, spacing), outward)
    np.testing.assert_array_equal(shift_surface(mask, -distance, spacing), to_outside > distance * (1 + 1e-6))
    np.testing.assert_array_equal(shift_surface(mask, 0.0, spacing), mask)


def test_one_voxel_lies_within_its_own_spacing() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[4, 4] = True
    cross = ndimage.binary_dilation(mask)
    np.testing.assert_array_equal(shift_surface(mask, 0.7, (0.7, 0.7)), cross)
    np.testing.assert_array_equal(shift_surface(cross, -0.7, (0.7, 0.7)), mask)
    only_along_the_first_axis = shift_surface(mask, 0.7, (0.7, 0.8))
    assert np.argwhere(only_along_the_first_axis).tolist() == [[3, 4], [4, 4], [5, 4]]
