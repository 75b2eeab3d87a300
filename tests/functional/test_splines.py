from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segmend.functional.splines import halving_matrix, resample_spline, spline_matrix


def scipys(image, shape):
    """The same by SciPy, which interpolates all axes at once."""
    zoom = [new / old for old, new in zip(image.shape, shape, strict=True)]
    found = ndimage.zoom(image.astype(float), zoom, order=3, mode="reflect", grid_mode=True)
    return np.clip(found, image.min(), image.max())


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.integers(8, 14), min_size=2, max_size=3), st.data())
def test_is_scipys_spline(sides, data):
    shape = tuple(data.draw(st.integers(side // 2 + 1, 18)) for side in sides)
    image = np.random.default_rng(0).normal(size=(2, *sides)).astype(np.float32)
    found = resample_spline(image, shape)
    assert found.dtype == np.float32
    for channel, expected in zip(found, image, strict=True):
        np.testing.assert_allclose(channel, scipys(expected, shape), atol=2e-6)


def test_a_cubic_is_kept_away_from_the_border():
    at = np.linspace(-1, 1, 40)
    new = (np.arange(50) + 0.5) * 40 / 50 - 0.5
    found = resample_spline((at**3 - at).astype(np.float32)[None], (50,))[0]
    wanted = np.interp(new, np.arange(40), at)
    np.testing.assert_allclose(found[12:-12], (wanted**3 - wanted)[12:-12], atol=1e-5)


def test_across_thick_slices_only_neighbours_count():
    image = np.zeros((1, 4, 4, 5), np.float32)
    image[..., 2] = 1
    thick = resample_spline(image, (4, 4, 10), linear=(2,))
    np.testing.assert_allclose(thick[0, 0, 0], [0, 0, 0, 0.25, 0.75, 0.75, 0.25, 0, 0, 0], atol=1e-6)
    assert (resample_spline(image, (4, 4, 10))[0, 0, 0] > 0.8).any()


def test_never_leaves_the_range_of_its_channel():
    image = np.zeros((2, 9, 9), np.float32)
    image[0, 4:], image[1, :4] = 1, -5
    found = resample_spline(image, (20, 13))
    assert found[0].min() == 0
    assert found[0].max() == 1
    assert found[1].min() == -5
    assert found[1].max() == 0


def test_halving_averages_pairs_and_passes_over_no_voxel():
    row = np.array([[8, 0, 0, 0, 0, 4, 0, 0]], np.float32)
    assert resample_spline(row, (4,)).tolist() == [[4, 0, 2, 0]]
    assert resample_spline(row, (2,)).tolist() == [[2, 1]]
    assert resample_spline(row, (1,)).tolist() == [[1.5]]


def test_a_side_that_stays_is_left_alone():
    image = np.random.default_rng(0).normal(size=(1, 5, 6)).astype(np.float32)
    found = resample_spline(image, (5, 6))
    np.testing.assert_array_equal(found, image)
    assert found is not image


@pytest.mark.parametrize("side", [1, 2])
def test_a_side_of_one_voxel_is_repeated(side):
    image = np.full((1, side, 3), 7, np.float32)
    np.testing.assert_allclose(resample_spline(image, (5, 3)), 7, rtol=1e-6)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize(("side", "wanted"), [(4, 8), (7, 5), (1, 3), (5, 1)])
def test_weights_of_a_voxel_sum_to_1(order, side, wanted):
    matrix = spline_matrix(side, wanted, order)
    assert matrix.shape == (wanted, side)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)


def test_linear_weights_by_hand():
    np.testing.assert_allclose(spline_matrix(2, 4, 1).toarray(), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])


def test_how_often_a_side_is_halved():
    assert [halving_matrix(16, wanted, 4).shape[0] for wanted in (1, 2, 4, 5, 16)] == [2, 4, 8, 16, 16]
    np.testing.assert_allclose(halving_matrix(4, 1, 2).toarray(), [[0.25] * 4])
