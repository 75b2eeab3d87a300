from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import map_coordinates

from segmend.core.masks import IGNORE
from segmend.data.resample import resample_image, resample_label

SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, max_side=7)


def line(*values: float) -> np.ndarray:
    """An image of one channel and one row."""
    return np.array(values, dtype=np.float32).reshape(1, 1, -1)


def interpolated(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation at the new voxels' centres, by scipy; edges of the field of view aligned."""
    axes = [(np.arange(new) + 0.5) * old / new - 0.5 for old, new in zip(image.shape, shape, strict=True)]
    return map_coordinates(image.astype(float), np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")


class TestImage:
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

    @given(arrays.arrays(np.float32, SHAPES.map(lambda s: (1, *s)), elements=st.floats(-10, 10, width=32)), st.data())
    def test_stays_within_the_values_it_had(self, image, data):
        shape = data.draw(st.tuples(*[st.integers(1, 9)] * (image.ndim - 1)))
        resampled = resample_image(image, shape)
        assert resampled.shape == (1, *shape)
        assert resampled.min() >= image.min() - 1e-5
        assert resampled.max() <= image.max() + 1e-5


class TestLabel:
    def test_the_larger_share_wins_and_ties_go_to_the_lower_index(self):
        label = np.array([[0, 2, 1, 1, 2, 1, 2, 2]], dtype=np.uint8)
        assert resample_label(label, (1, 4)).tolist() == [[0, 1, 1, 2]]

    def test_enlarging_repeats(self):
        label = np.array([[0, 1], [2, IGNORE]], dtype=np.uint8)
        np.testing.assert_array_equal(resample_label(label, (4, 4)), label.repeat(2, 0).repeat(2, 1))

    @given(arrays.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1, 3, IGNORE])), st.data())
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

    def test_of_one_class_stays_that_class_everywhere(self):
        for shape in product((1, 3, 8), repeat=2):
            assert (resample_label(np.full((5, 4), 7, dtype=np.uint8), shape) == 7).all()

    def test_onto_its_own_grid_changes_nothing(self):
        label = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
        np.testing.assert_array_equal(resample_label(label, (4, 5, 6)), label)
