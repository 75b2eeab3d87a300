from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import map_coordinates
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.resampling import (
    downsample_labels,
    resample_argmax,
    resample_image,
    resample_label,
    resample_map,
    upsample,
    upsample_transposed,
)

GRIDS = st.integers(1, 3).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(1, 6), min_size=n, max_size=n) for _ in range(2)])
)


def test_upsampling_interpolates_between_the_centres_of_voxels():
    assert upsample(torch.tensor([[[0.0, 4.0]]]), [4]).tolist() == [[[0, 1, 3, 4]]]


def test_axes_are_interpolated_one_after_the_other():
    maps = torch.rand(2, 3, 2, 3, 2)
    step_by_step = upsample(upsample(maps, (4, 3, 2)), (4, 6, 5))
    assert_close(upsample(maps, (4, 6, 5)), step_by_step)


@pytest.mark.parametrize("bring", [upsample, upsample_transposed])
def test_to_its_own_grid_changes_nothing(bring):
    maps = torch.rand(1, 2, 3, 4)
    assert torch.equal(bring(maps, (3, 4)), maps)


class TestDownsampledLabels:
    def test_take_the_class_at_the_centre_of_a_coarse_voxel(self):
        """The centre of three voxels is the second; of two, the border between them, and the second is taken."""
        label = torch.tensor([[0, 1, 2, 3, IGNORE, 5]], dtype=torch.uint8)
        assert downsample_labels(label, [2]).tolist() == [[1, IGNORE]]
        assert downsample_labels(label, [3]).tolist() == [[1, 3, 5]]

    @given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 5))
    def test_hold_no_class_that_was_not_there(self, shape, size, seed):
        label = torch.randint(0, 200, (2, *shape), generator=torch.Generator().manual_seed(seed))
        coarse = downsample_labels(label, size)
        assert coarse.shape == (2, *size)
        assert coarse.dtype == label.dtype
        assert all(
            set(new.unique().tolist()) <= set(old.unique().tolist()) for new, old in zip(coarse, label, strict=True)
        )


def test_the_transpose_by_hand():
    # Each of the four voxels gives its value to the two coarse ones in the shares with which it was made of them.
    fine = torch.tensor([[[1.0, 10.0, 100.0, 1000.0]]])
    assert upsample_transposed(fine, [2]).tolist() == [[[1 + 7.5 + 25, 2.5 + 75 + 1000]]]


@given(GRIDS, st.integers(0, 2**32))
def test_upsampling_and_its_transpose_are_adjoint(grids, seed):
    coarse_grid, fine_grid = grids
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(2, 3, *coarse_grid, generator=random, dtype=torch.float64)
    fine = torch.randn(2, 3, *fine_grid, generator=random, dtype=torch.float64)
    transposed = upsample_transposed(fine, coarse_grid)
    assert transposed.shape == coarse.shape
    assert_close((upsample(coarse, fine_grid) * fine).sum(), (coarse * transposed).sum())


def test_the_transpose_neither_needs_nor_leaves_a_graph():
    fine = torch.rand(1, 1, 4, 4, requires_grad=True)
    with torch.no_grad():
        without = upsample_transposed(fine, (2, 2))
    assert not without.requires_grad
    assert not upsample_transposed(fine, (2, 2)).requires_grad
    assert_close(without.sum(), fine.sum())


IMAGE_SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, max_side=7)


def line(*values: float) -> np.ndarray:
    """An image of one channel and one row."""
    return np.array(values, dtype=np.float32).reshape(1, 1, -1)


def interpolated(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation at the new voxels' centres, by scipy; edges of the field of view aligned."""
    axes = [(np.arange(new) + 0.5) * old / new - 0.5 for old, new in zip(image.shape, shape, strict=True)]
    return map_coordinates(image.astype(float), np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")


class TestResampleImage:
    def test_halving_averages_pairs(self):
        assert resample_image(line(1, 3, 10, 20), (1, 2)).tolist() == [[[2, 15]]]

    def test_a_quarter_passes_over_no_voxel(self):
        # Interpolation alone would look at the two in the middle of each four.
        assert resample_image(line(8, 0, 0, 0, 0, 4, 0, 0), (1, 2)).tolist() == [[[2, 1]]]

    def test_strong_reductions_keep_the_mean(self):
        image = np.random.default_rng(0).random((2, 32, 64), dtype=np.float32)
        reduced = resample_image(image, (2, 4))
        expected = image.reshape(2, 2, 16, 4, 16).mean((2, 4))
        np.testing.assert_allclose(reduced, expected, rtol=1e-5)

    @pytest.mark.parametrize(
        ("old", "new"), [((4, 5), (8, 7)), ((6, 5, 4), (5, 9, 4)), ((9, 8), (4, 3)), ((1, 3), (2, 3))]
    )
    def test_is_linear_interpolation_between_centres(self, old, new):
        image = np.random.default_rng(0).random((2, *old), dtype=np.float32)
        resampled = resample_image(image, new)
        assert resampled.dtype == np.float32
        for channel, expected in zip(resampled, image, strict=True):
            np.testing.assert_allclose(channel, interpolated(expected, new), atol=1e-5)

    def test_onto_its_own_grid_changes_nothing(self):
        image = np.random.default_rng(0).random((1, 4, 5), dtype=np.float32)
        np.testing.assert_array_equal(resample_image(image, (4, 5)), image)

    @given(
        arrays.arrays(np.float32, IMAGE_SHAPES.map(lambda s: (1, *s)), elements=st.floats(-10, 10, width=32)), st.data()
    )
    def test_stays_within_the_values_it_had(self, image, data):
        shape = data.draw(st.tuples(*[st.integers(1, 9)] * (image.ndim - 1)))
        resampled = resample_image(image, shape)
        assert resampled.shape == (1, *shape)
        assert resampled.min() >= image.min() - 1e-5
        assert resampled.max() <= image.max() + 1e-5


class TestResampleLabel:
    def test_the_larger_share_wins_and_ties_go_to_the_lower_index(self):
        label = np.array([[0, 2, 1, 1, 2, 1, 2, 2]], dtype=np.uint8)
        assert resample_label(label, (1, 4)).tolist() == [[0, 1, 1, 2]]

    def test_enlarging_repeats(self):
        label = np.array([[0, 1], [2, IGNORE]], dtype=np.uint8)
        np.testing.assert_array_equal(resample_label(label, (4, 4)), label.repeat(2, 0).repeat(2, 1))

    @given(arrays.arrays(np.uint8, IMAGE_SHAPES, elements=st.sampled_from([0, 1, 3, IGNORE])), st.data())
    def test_is_the_class_of_the_largest_share(self, label, data):
        # From a quarter of a side downwards the shares are averages, which the images' tests look at.
        shape = tuple(data.draw(st.integers(side // 4 + 1, 9)) for side in label.shape)
        values = np.unique(label)
        shares = np.stack([interpolated(label == value, shape) for value in values])
        resampled = resample_label(label, shape)
        assert resampled.dtype == np.uint8
        first, *others = np.sort(shares, axis=0)[::-1]
        clear = first - (others[0] if others else 0) > 1e-4
        np.testing.assert_array_equal(resampled[clear], values[shares.argmax(0)][clear])
        assert set(np.unique(resampled)) <= set(values)

    @pytest.mark.parametrize("voxels", [1, 50, 10**6])
    def test_does_not_depend_on_the_size_of_slabs(self, voxels, monkeypatch):
        label = np.random.default_rng(0).integers(0, 6, (9, 8, 7)).repeat(3, 0).astype(np.uint8)
        expected = {shape: resample_label(label, shape) for shape in ((20, 11, 9), (40, 8, 5), (5, 3, 2))}
        monkeypatch.setattr("segmend.functional.resampling._SLAB_VOXELS", voxels)
        for shape, result in expected.items():
            np.testing.assert_array_equal(resample_label(label, shape), result)

    def test_memory_does_not_grow_with_the_classes(self):
        label = np.arange(100, dtype=np.uint8).repeat(64 * 128 * 2).reshape(200, 64, 128)
        tracemalloc.start()
        try:
            resample_label(label, (256, 128, 128))
            assert tracemalloc.get_traced_memory()[1] < 30 * label.nbytes
        finally:
            tracemalloc.stop()

    def test_of_one_class_stays_that_class_everywhere(self):
        for shape in product((1, 3, 8), repeat=2):
            assert (resample_label(np.full((5, 4), 7, dtype=np.uint8), shape) == 7).all()

    def test_onto_its_own_grid_changes_nothing(self):
        label = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
        np.testing.assert_array_equal(resample_label(label, (4, 5, 6)), label)


def softmax_maps(seed, classes, shape):
    logits = np.random.default_rng(seed).normal(size=(classes, *shape))
    return torch.from_numpy(logits).softmax(0).float().numpy()


@pytest.mark.parametrize("shape", [(5, 7), (4, 6, 3)])
def test_a_map_of_equal_shape_is_unchanged(shape):
    probabilities = softmax_maps(0, 4, shape)
    assert np.array_equal(resample_map(probabilities[1], shape), probabilities[1])
    assert np.array_equal(resample_argmax(probabilities, shape), probabilities.argmax(0))


def test_a_map_of_equal_shape_is_an_array_of_its_own():
    values = np.ones((2, 2), np.float32)
    resample_map(values, (2, 2))[:] = 7
    resample_argmax(values[None], (2, 2))
    assert np.array_equal(values, np.ones((2, 2)))


def test_map_by_hand():
    # new centres at -0.25, 0.25, 0.75, 1.25 of the old voxels; beyond the centres the border value goes on
    assert resample_map(np.array([[0, 4]], np.float32), (1, 4)).tolist() == [[0, 1, 3, 4]]
    assert resample_map(np.array([[0, 4, 8, 12]], np.float32), (1, 2)).tolist() == [[2, 10]]


def test_argmax_by_hand():
    # the classes cross halfway between the two voxels
    probabilities = np.array([[[0.9, 0.1]], [[0.1, 0.9]]], np.float32)
    assert resample_argmax(probabilities, (1, 8)).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    probabilities = np.array([[[0.6, 0.1]], [[0.4, 0.9]]], np.float32)  # they cross at 1/5
    assert resample_argmax(probabilities, (1, 8)).tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]


def test_a_class_between_two_others_is_not_invented():
    # labels 0 and 2 side by side: interpolated labels would pass through 1
    probabilities = np.zeros((3, 1, 2), np.float32)
    probabilities[0, 0, 0] = probabilities[2, 0, 1] = 1
    assert set(resample_argmax(probabilities, (1, 9)).ravel().tolist()) == {0, 2}


def test_of_equal_classes_the_first_wins():
    assert not resample_argmax(np.full((3, 2, 2), 1 / 3, np.float32), (5, 5)).any()


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 99), st.integers(2, 6), st.lists(st.integers(2, 9), min_size=2, max_size=3), st.data())
def test_argmax_equals_that_of_all_maps_interpolated_together(seed, classes, shape, data):
    target = data.draw(st.lists(st.integers(1, 12), min_size=len(shape), max_size=len(shape)))
    probabilities = softmax_maps(seed, classes, shape)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    together = torch.nn.functional.interpolate(torch.tensor(probabilities)[None], target, mode=mode)[0].numpy()
    assert np.array_equal(resample_argmax(probabilities, target), together.argmax(0))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(2, 9), st.integers(1, 30))
def test_a_rising_map_stays_rising_and_within_its_range(side, target):
    rising = np.linspace(-1, 2, side, dtype=np.float32)[:, None].repeat(3, 1)
    resampled = resample_map(rising, (target, 3))
    assert (np.diff(resampled, axis=0) >= 0).all()
    assert resampled.min() >= -1
    assert resampled.max() <= 2


def test_reads_a_read_only_memory_map(tmp_path):
    probabilities = softmax_maps(3, 5, (4, 5, 6))
    np.save(tmp_path / "p.npy", probabilities)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    assert np.array_equal(resample_argmax(mapped, (8, 5, 3)), resample_argmax(probabilities, (8, 5, 3)))
