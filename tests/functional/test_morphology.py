from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.morphology import (
    connected_components,
    dilate,
    erode,
    largest_component,
    shift_surface,
    signed_distance,
    without_small_holes,
    without_small_regions,
)

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
def test_dilation_and_erosion_equal_scipys_bit_for_bit(mask: Mask, side: int) -> None:
    before, cube = mask.copy(), np.ones([side] * mask.ndim)
    np.testing.assert_array_equal(dilate(mask, side), ndimage.binary_dilation(mask, cube))
    np.testing.assert_array_equal(erode(mask, side), ndimage.binary_erosion(mask, cube))
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("side", range(1, 17))
@pytest.mark.parametrize("dimensions", [2, 3])
def test_dilation_and_erosion_equal_scipys_at_every_side_away_from_the_edges(side: int, dimensions: int) -> None:
    mask = np.zeros([40, 36, 34][:dimensions], dtype=bool)
    mask[tuple(slice(9, 27) for _ in range(dimensions))] = True
    mask[tuple(slice(16, 19) for _ in range(dimensions))] = False
    cube = np.ones([side] * dimensions)
    np.testing.assert_array_equal(dilate(mask, side), ndimage.binary_dilation(mask, cube))
    np.testing.assert_array_equal(erode(mask, side), ndimage.binary_erosion(mask, cube))


@pytest.mark.parametrize(("side", "lower", "higher"), [(1, 0, 0), (3, 1, 1), (4, 2, 1), (15, 7, 7), (16, 8, 7)])
def test_extent_of_a_square_of_21_voxels_dilated_and_eroded(side: int, lower: int, higher: int) -> None:
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


def test_largest_components_by_hand_in_2d():
    label = np.array(
        [
            [1, 1, 0, 2, 0],
            [0, 0, 1, 2, 2],
            [2, 0, 1, 1, 0],
            [2, 0, 0, 0, 1],
        ],
        dtype=np.uint8,
    )
    expected = [
        [0, 0, 0, 2, 0],
        [0, 0, 1, 2, 2],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    given = label.copy()
    kept = largest_component(label)
    assert kept.tolist() == expected
    assert kept.dtype == np.uint8
    assert np.array_equal(label, given)


def test_edges_and_corners_do_not_connect_in_3d():
    label = np.zeros((3, 3, 3), np.uint8)
    label[0, 0, :2] = 1
    label[1, 1, 0] = 1  # touches an edge only
    assert np.argwhere(largest_component(label)).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_of_equal_components_the_first_stays():
    assert largest_component(np.array([[3, 0, 3], [0, 0, 0]], np.uint8)).tolist() == [[3, 0, 0], [0, 0, 0]]


def test_touching_classes_are_separate_components():
    label = np.array([[1, 2, 1, 1]], np.uint8)
    assert largest_component(label).tolist() == [[0, 2, 1, 1]]


def test_empty_label_and_ignored_voxels_stay():
    label = np.zeros((4, 4), np.uint8)
    assert not largest_component(label).any()
    label[0, 0] = label[3, 3] = IGNORE
    assert np.array_equal(largest_component(label), label)


def test_largest_components_of_chosen_classes_only():
    label = np.array([[1, 0, 1, 1, 2, 2, 0, 2]], np.uint8)
    assert largest_component(label, {2}).tolist() == [[1, 0, 1, 1, 2, 2, 0, 0]]
    assert largest_component(label, {1}).tolist() == [[0, 0, 1, 1, 2, 2, 0, 2]]
    assert np.array_equal(largest_component(label, ()), label)


def test_largest_components_equal_a_labelling_class_by_class():
    label = np.random.default_rng(0).integers(0, 4, (9, 10, 11)).astype(np.uint8)
    expected = np.zeros_like(label)
    for index in (1, 2, 3):
        components, count = ndimage.label(label == index)
        sizes = ndimage.sum_labels(label == index, components, range(1, count + 1))
        expected[components == 1 + np.argmax(sizes)] = index
    assert np.array_equal(largest_component(label), expected)


def mask(*boxes: tuple[slice, ...], shape: tuple[int, ...] = (30, 30)) -> Tensor:
    filled = torch.zeros(shape, dtype=torch.bool)
    for box in boxes:
        filled[box] = True
    return filled


BIG = (slice(2, 12), slice(2, 12))


def test_a_region_of_9_of_109_voxels_goes_and_one_of_12_of_112_stays():
    small, larger = (slice(20, 23), slice(20, 23)), (slice(20, 23), slice(20, 24))
    assert without_small_regions(mask(BIG, small), 0.1).equal(mask(BIG))
    assert without_small_regions(mask(BIG, larger), 0.1).equal(mask(BIG, larger))


@pytest.mark.parametrize(("box", "hole", "filled"), [((7, 15), (1, 5), True), ((10, 12), (4, 5), False)])
def test_a_hole_of_5_in_100_voxels_is_filled_and_one_of_20_stays(box, hole, filled):
    whole = mask((slice(5, 5 + box[0]), slice(5, 5 + box[1])))
    holed = whole.clone()
    holed[8 : 8 + hole[0], 8 : 8 + hole[1]] = False
    assert int(holed.sum()) == 100
    assert without_small_holes(holed, 0.1).equal(whole if filled else holed)


def test_a_tenth_is_not_small():
    rows = mask((slice(0, 1), slice(0, 27)), (slice(5, 6), slice(0, 3)))  # 27 and 3 voxels
    assert without_small_regions(rows, 0.1).equal(rows)
    assert int(without_small_regions(rows, 0.11).sum()) == 27
    ring = mask((slice(0, 3), slice(0, 11)))
    ring[1, 1:4] = False  # 30 voxels around 3
    assert without_small_holes(ring, 0.1).equal(ring)
    assert int(without_small_holes(ring, 0.11).sum()) == 33


def test_a_corner_does_not_connect():
    touching = mask((slice(0, 5), slice(0, 5)), (slice(5, 6), slice(5, 6)))
    assert int(without_small_regions(touching, 0.1).sum()) == 25
    open_at_a_corner = mask((slice(0, 9), slice(0, 9)))
    open_at_a_corner[1, 1] = open_at_a_corner[0, 0] = False
    assert without_small_holes(open_at_a_corner, 0.1)[1, 1]


def test_what_the_edge_cuts_off_is_no_hole():
    notched = mask((slice(0, 9), slice(0, 9)), shape=(9, 9))
    notched[0, 4] = False
    assert without_small_holes(notched, 0.5).equal(notched)


def test_small_regions_alone_leave_nothing():
    specks = torch.zeros(11, 11, dtype=torch.bool)
    specks[::2, ::2] = True
    assert not without_small_regions(specks, 0.1).any()


@pytest.mark.parametrize("shape", [(6, 5), (5, 4, 3)])
def test_nothing_and_everything_stay(shape):
    for constant in (torch.zeros(shape, dtype=torch.bool), torch.ones(shape, dtype=torch.bool)):
        assert without_small_regions(constant, 0.1).equal(constant)
        assert without_small_holes(constant, 0.1).equal(constant)


@given(st.integers(0, 2**32), st.floats(0, 0.5), st.sampled_from([(12, 10), (6, 7, 5)]))
def test_one_only_removes_and_the_other_only_adds(seed, share, shape):
    given = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    assert not (without_small_regions(given, share) & ~given).any()
    assert not (given & ~without_small_holes(given, share)).any()


def test_components_are_numbered_in_the_order_of_the_array_and_counted():
    numbers, sizes = connected_components(np.array([[1, 1, 0, 1], [0, 0, 1, 0], [1, 0, 1, 0]], dtype=bool))
    assert numbers.tolist() == [[1, 1, 0, 2], [0, 0, 3, 0], [4, 0, 3, 0]]
    assert sizes.tolist() == [6, 2, 1, 2, 1]


@pytest.mark.parametrize(("value", "sizes"), [(False, [6]), (True, [0, 6])])
def test_nothing_has_no_component_and_everything_is_one(value, sizes):
    assert connected_components(np.full((2, 3), value))[1].tolist() == sizes
