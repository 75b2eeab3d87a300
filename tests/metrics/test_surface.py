from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from segmend.core.errors import InputError
from segmend.metrics import SurfaceDistances, asd, assd, hd95, mssd, nsd, surface_distances

SYMMETRIC = (hd95, assd, mssd)
few = settings(derandomize=True, deadline=None, max_examples=40)


def masks(*sides: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.bool_, sides).filter(np.any)


SPACINGS = st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 2.5])] * 3)


def brute_surface(mask: np.ndarray) -> list[tuple[int, ...]]:
    """Object voxels with at least one face neighbour that is no object voxel, by looking at each."""
    objects = {tuple(int(i) for i in voxel) for voxel in np.argwhere(mask)}
    steps = [tuple(s * int(a == axis) for a in range(mask.ndim)) for axis in range(mask.ndim) for s in (-1, 1)]
    return [v for v in sorted(objects) if any(tuple(np.add(v, step).tolist()) not in objects for step in steps)]


def brute_distances(start: np.ndarray, goal: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    goals = np.array(brute_surface(goal)) * spacing
    return np.array([np.linalg.norm(goals - np.multiply(v, spacing), axis=1).min() for v in brute_surface(start)])


def blob(seed: int, shape: tuple[int, ...] = (36, 30, 22)) -> np.ndarray:
    """A bumpy ellipsoid that stays clear of the array's edge."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3)
    axes = np.meshgrid(*[np.linspace(-1.5, 1.5, side) for side in shape], indexing="ij")
    return sum(axis**2 for axis in axes) + 3 * noise < 1


@pytest.mark.parametrize(
    ("shape", "at"), [((10, 1, 1), (0, 0)), ((1, 10, 1), None), ((10, 3, 5), (1, 2)), ((1, 10), None), ((10, 4), (3,))]
)
def test_hand_example_on_a_line(shape, at):
    prediction, reference = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for mask, last in ((prediction, 3), (reference, 7)):
        view = mask[:, *at] if at is not None else mask.reshape(-1)
        view[2 : last + 1] = True
    distances = surface_distances(prediction, reference, (1.0,) * len(shape))
    assert sorted(distances.to_reference) == [0, 0]
    assert sorted(distances.to_prediction) == [0, 0, 1, 2, 3, 4]
    assert asd(distances) == 0
    assert asd(SurfaceDistances(distances.to_prediction, distances.to_reference)) == pytest.approx(10 / 6)
    assert assd(distances) == pytest.approx(1.25)
    assert hd95(distances) == pytest.approx(3.65)
    assert mssd(distances) == 4
    assert [nsd(distances, t) for t in (0, 1, 3.9, 4)] == [4 / 8, 5 / 8, 7 / 8, 1]


def test_spacing_belongs_to_its_axis():
    prediction, reference = np.zeros((6, 7, 8), dtype=bool), np.zeros((6, 7, 8), dtype=bool)
    prediction[1, 1, 1] = reference[2, 3, 4] = True
    expected = np.sqrt((1 * 0.5) ** 2 + (2 * 2.0) ** 2 + (3 * 3.0) ** 2)
    for order in ("C", "F"):
        distances = surface_distances(prediction.copy(order), reference.copy(order), (0.5, 2.0, 3.0))
        assert distances.to_reference == pytest.approx([expected])
        assert distances.to_prediction == pytest.approx([expected])
    flat = surface_distances(prediction[:, :, 1], prediction[:, :, 1][::-1], (0.5, 2.0))
    assert mssd(flat) == pytest.approx(3 * 0.5)


def test_edge_of_the_array_is_outside():
    full = np.ones((5, 6), dtype=bool)
    centre = np.zeros((5, 6), dtype=bool)
    centre[2, 2] = True
    distances = surface_distances(full, centre, (1.0, 1.0))
    assert len(distances.to_reference) == 5 * 6 - 3 * 4
    assert distances.to_prediction.tolist() == [2.0]


def test_inner_voxels_are_no_surface_but_walls_of_holes_are():
    block = np.zeros((7, 7, 7), dtype=bool)
    block[1:6, 1:6, 1:6] = True
    hollow = block.copy()
    hollow[3, 3, 3] = False
    distances = surface_distances(block, hollow, (1, 1, 1))
    assert len(distances.to_reference) == 5**3 - 3**3
    assert len(distances.to_prediction) == 5**3 - 3**3 + 6
    # The hole's six walls lie one voxel below the block's surface.
    assert sorted(distances.to_prediction)[-6:] == [1.0] * 6


@few
@given(masks(4, 3, 5), masks(4, 3, 5), SPACINGS)
def test_equals_brute_force_in_3d(prediction, reference, spacing):
    distances = surface_distances(prediction, reference, spacing)
    np.testing.assert_allclose(distances.to_reference, brute_distances(prediction, reference, spacing), rtol=1e-6)
    np.testing.assert_allclose(distances.to_prediction, brute_distances(reference, prediction, spacing), rtol=1e-6)


@few
@given(masks(6, 7), masks(6, 7), SPACINGS)
def test_equals_brute_force_in_2d(prediction, reference, spacing):
    distances = surface_distances(prediction, reference, spacing[:2])
    np.testing.assert_allclose(distances.to_reference, brute_distances(prediction, reference, spacing[:2]), rtol=1e-6)
    np.testing.assert_allclose(distances.to_prediction, brute_distances(reference, prediction, spacing[:2]), rtol=1e-6)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.625, 0.7, 3.0)])
def test_equals_the_generic_tools_on_a_whole_organ(order, spacing):
    prediction, reference = blob(1).copy(order), blob(2).copy(order)
    cross = ndimage.generate_binary_structure(3, 1)
    surfaces = [mask & ~ndimage.binary_erosion(mask, cross) for mask in (prediction, reference)]
    maps = [ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
    distances = surface_distances(prediction, reference, spacing)
    np.testing.assert_allclose(distances.to_reference, maps[1][surfaces[0]], rtol=1e-6)
    np.testing.assert_allclose(distances.to_prediction, maps[0][surfaces[1]], rtol=1e-6)


def test_distances_in_voxels_are_exact():
    distances = surface_distances(blob(1), blob(2), (1, 1, 1)).both()
    assert np.array_equal(distances, np.sqrt(np.rint(distances**2)))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.7, 2.0)])
def test_equals_monai_where_definitions_agree(spacing):
    prediction, reference = blob(3), blob(4)
    ours = surface_distances(prediction, reference, spacing)
    one_hot = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]
    common = {"include_background": True, "spacing": spacing}
    assert mssd(ours) == pytest.approx(compute_hausdorff_distance(*one_hot, **common).item(), rel=1e-5)
    assert asd(ours) == pytest.approx(compute_average_surface_distance(*one_hot, **common).item(), rel=1e-5)
    symmetric = compute_average_surface_distance(*one_hot, symmetric=True, **common).item()
    assert assd(ours) == pytest.approx(symmetric, rel=1e-5)
    surface_dice = compute_surface_dice(*one_hot, class_thresholds=[1.0], **common).item()
    assert nsd(ours, 1.0) == pytest.approx(surface_dice, rel=1e-5)


@few
@given(masks(3, 4, 4), masks(3, 4, 4), SPACINGS)
def test_swapping_the_masks_swaps_the_directions(prediction, reference, spacing):
    there, back = (surface_distances(*pair, spacing) for pair in ((prediction, reference), (reference, prediction)))
    np.testing.assert_array_equal(there.to_reference, back.to_prediction)
    np.testing.assert_array_equal(there.to_prediction, back.to_reference)
    for metric in SYMMETRIC:
        assert metric(there) == pytest.approx(metric(back))
    assert nsd(there, 1.0) == nsd(back, 1.0)


@few
@given(masks(3, 4, 4), masks(3, 4, 4), SPACINGS, st.tuples(*[st.integers(0, 3)] * 6))
def test_place_in_the_array_does_not_matter(prediction, reference, spacing, margins):
    margin = list(zip(margins[:3], margins[3:], strict=True))
    here = surface_distances(prediction, reference, spacing)
    there = surface_distances(np.pad(prediction, margin), np.pad(reference, margin), spacing)
    np.testing.assert_array_equal(here.both(), there.both())


@few
@given(masks(3, 4, 4), masks(3, 4, 4), SPACINGS, st.sampled_from([0.25, 3.0]))
def test_distances_scale_with_the_spacing(prediction, reference, spacing, factor):
    small = surface_distances(prediction, reference, spacing)
    large = surface_distances(prediction, reference, tuple(factor * s for s in spacing))
    for metric in (*SYMMETRIC, asd):
        assert metric(large) == pytest.approx(factor * metric(small), rel=1e-5)
    assert nsd(large, factor * 1.1) == nsd(small, 1.1)


@few
@given(masks(3, 4, 4), masks(3, 4, 4), SPACINGS)
def test_metrics_are_ordered_and_zero_only_for_equal_surfaces(prediction, reference, spacing):
    distances = surface_distances(prediction, reference, spacing)
    assert 0 <= assd(distances) <= mssd(distances) * (1 + 1e-9)
    assert hd95(distances) <= mssd(distances)
    assert 0.999 * min(spacing) < mssd(distances) or brute_surface(prediction) == brute_surface(reference)
    same = surface_distances(prediction, prediction.copy(), spacing)
    assert (mssd(same), nsd(same, 0.0)) == (0, 1)


@pytest.mark.parametrize("step", [0.1, 0.3, 0.7, 0.9765625, float(np.float32(0.7))])
def test_one_voxel_off_is_within_a_tolerance_of_one_voxel(step):
    prediction, reference = np.zeros((9, 9), dtype=bool), np.zeros((9, 9), dtype=bool)
    prediction[2:5, 2:5], reference[3:6, 2:5] = True, True
    distances = surface_distances(prediction, reference, (step, step))
    assert nsd(distances, round(step, 7)) == 1
    assert nsd(distances, 0.99 * step) < 1


def test_masks_without_a_surface_and_wrong_spacings_are_refused():
    full, empty = np.ones((3, 3), dtype=bool), np.zeros((3, 3), dtype=bool)
    with pytest.raises(InputError, match=r"prediction: is empty, so it has no surface"):
        surface_distances(empty, full, (1, 1))
    with pytest.raises(InputError, match=r"reference: is empty"):
        surface_distances(full, empty, (1, 1))
    with pytest.raises(InputError, match=r"spacing: has 3 values for 2 axes"):
        surface_distances(full, full, (1, 1, 1))
    with pytest.raises(InputError, match=r"has shape"):
        surface_distances(full, full[:2], (1, 1))


def test_masks_are_not_changed():
    prediction, reference = blob(1), blob(2)
    before = prediction.copy(), reference.copy()
    surface_distances(prediction, reference, (1, 1, 1))
    assert np.array_equal(prediction, before[0])
    assert np.array_equal(reference, before[1])
