from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.core.errors import InputError
from segmend.data.image import Grid
from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.functional.splines import resample_spline

AS_IS = Normalisation(mean=0, sd=1)
Z_SCORE = Normalisation()
KEPT = (None, None, None)
OBLIQUE = np.array([[1.1, -0.2, 0.1, -30], [0.3, 1.4, -0.2, 12], [-0.1, 0.3, 2.2, 5], [0, 0, 0, 1.0]])
ORIENTATIONS = [
    np.column_stack([axes, directions])
    for axes in itertools.permutations(range(3))
    for directions in itertools.product([1, -1], repeat=3)
]


def prepared(preprocessing, image, label, affine):
    grid = Grid(label.shape, np.asarray(affine, dtype=float))
    placement = preprocessing.place(image, grid)
    return preprocessing.image(image, grid, placement), preprocessing.label(label, grid, placement), placement


def reoriented(array, affine, orientation):
    """The same scan stored otherwise, by nibabel."""
    scan = nibabel.Nifti1Image(array, affine).as_reoriented(orientation)
    return np.ascontiguousarray(scan.get_fdata()).astype(array.dtype), scan.affine


@pytest.fixture
def scan():
    """Noise with an empty border of 1, 2 and 3 voxels on one side, and an off-centre box as label."""
    image = np.random.default_rng(0).uniform(1, 100, (9, 12, 10)).astype(np.float32)
    image[:1], image[:, -2:], image[:, :, :3] = 0, 0, 0
    label = np.zeros(image.shape, dtype=np.uint8)
    label[2:5, 3:9, 4:8] = 2
    label[5:7, 3:9, 4:8] = 1
    return image, label


class TestOrientation:
    @given(orientation=st.sampled_from(ORIENTATIONS))
    @pytest.mark.parametrize("spacing", [KEPT, (1.5, 1.0, 2.0)])
    def test_does_not_depend_on_how_the_scan_is_stored(self, scan, spacing, orientation):
        image, label = scan
        preprocessing = Preprocessing(spacing, (AS_IS,))
        expected = prepared(preprocessing, image[None], label, OBLIQUE)
        other_image, other_affine = reoriented(image, OBLIQUE, orientation)
        other_label, _ = reoriented(label, OBLIQUE, orientation)
        found = prepared(preprocessing, other_image[None], other_label, other_affine)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])

    @given(orientation=st.sampled_from(ORIENTATIONS))
    @pytest.mark.parametrize("slice_axis", [0, 1, 2])
    def test_restore_puts_every_voxel_back(self, scan, slice_axis, orientation):
        image, label = (reoriented(array, OBLIQUE, orientation)[0] for array in scan)
        affine = reoriented(scan[0], OBLIQUE, orientation)[1]
        preprocessing = Preprocessing(KEPT, (AS_IS,), slice_axis=slice_axis)
        small_image, small_label, placement = prepared(preprocessing, image[None], label, affine)
        np.testing.assert_array_equal(placement.restore(small_image[0]), image)
        np.testing.assert_array_equal(placement.restore(small_label), label)

    def test_restore_fills_the_border(self, scan):
        image, label = scan
        _, small, placement = prepared(Preprocessing(KEPT, (AS_IS,)), image[None], label, np.eye(4))
        restored = placement.restore(np.full(small.shape, 0.25, dtype=np.float32), outside=1.0)
        np.testing.assert_array_equal(restored == 0.25, image > 0)
        np.testing.assert_array_equal(restored == 1.0, image == 0)

    @pytest.mark.parametrize(("slice_axis", "shape"), [(0, (3, 4, 2)), (1, (2, 4, 3)), (2, (2, 3, 4))])
    def test_slices_come_last(self, slice_axis, shape):
        image = np.ones((1, 2, 3, 4), dtype=np.float32)
        preprocessing = Preprocessing(KEPT, (AS_IS,), slice_axis=slice_axis)
        assert prepared(preprocessing, image, image[0].astype(np.uint8), np.eye(4))[0].shape[1:] == shape

    def test_a_picture_stays_as_it_is(self):
        image = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4)
        flipped = np.diag([-1.0, -1.0, 1.0, 1.0])
        found = prepared(Preprocessing((None, None), (AS_IS,)), image, image[0].astype(np.uint8), flipped)
        np.testing.assert_array_equal(found[0], image)
        np.testing.assert_array_equal(found[2].restore(found[1]), image[0])


class TestBorder:
    def test_is_cut_off(self, scan):
        image, label = scan
        small, _, placement = prepared(Preprocessing(KEPT, (AS_IS,)), image[None], label, np.eye(4))
        assert placement.box == ((1, 9), (0, 10), (3, 10))
        np.testing.assert_array_equal(small[0], image[1:, :-2, 3:])

    def test_is_where_all_channels_are_empty(self):
        image = np.zeros((2, 6, 6, 6), dtype=np.float32)
        image[0, 1, 2, 2], image[1, 3, 2, 4] = 5, -5
        placement = Preprocessing(KEPT, (AS_IS, AS_IS)).place(image, Grid((6, 6, 6), np.eye(4)))
        assert placement.box == ((1, 4), (2, 3), (2, 5))

    def test_an_empty_scan_is_left_whole(self):
        image = np.zeros((1, 3, 4, 5), dtype=np.float32)
        found = prepared(Preprocessing(KEPT, (Z_SCORE,)), image, image[0].astype(np.uint8), np.eye(4))
        np.testing.assert_array_equal(found[0], image)


class TestResampling:
    @pytest.mark.parametrize(
        ("wanted", "shape"),
        [
            ((2.0, 1.0, 1.0), (10, 18, 24)),
            ((None, None, 3.0), (20, 18, 8)),
            ((1.3, 1.3, 1.3), (15, 14, 18)),  # 15.4, 13.8 and 18.5, which Python rounds to even
            ((100.0, 100.0, 100.0), (1, 1, 1)),
        ],
    )
    def test_target_shape(self, wanted, shape):
        image = np.ones((1, 20, 18, 16), dtype=np.float32)
        found = prepared(
            Preprocessing(wanted, (AS_IS,)), image, image[0].astype(np.uint8), np.diag([1.0, 1.0, 1.5, 1.0])
        )
        assert found[0].shape == (1, *shape)
        assert found[1].shape == shape

    def test_spacing_belongs_to_the_prepared_axes(self):
        image = np.ones((1, 6, 8, 10), dtype=np.float32)
        preprocessing = Preprocessing((1.0, 1.0, 3.0), (AS_IS,), slice_axis=0)
        found = prepared(preprocessing, image, image[0].astype(np.uint8), np.diag([3.0, 2.0, 1.0, 1.0]))
        assert found[1].shape == (16, 10, 6)

    def test_a_picture(self):
        image = np.ones((1, 20, 18), dtype=np.float32)
        preprocessing = Preprocessing((1.0, 0.5), (AS_IS,))
        found = prepared(preprocessing, image, image[0].astype(np.uint8), np.diag([0.5, 1.0, 1.0, 1.0]))
        assert found[0].shape == (1, 10, 36)

    @given(orientation=st.sampled_from(ORIENTATIONS))
    @pytest.mark.parametrize("wanted", [KEPT, (2.1, 1.0, 1.7)])
    def test_image_and_label_stay_where_they_were(self, orientation, wanted):
        index = np.moveaxis(np.indices((24, 22, 20)), 0, -1)
        centre = np.array([13.0, 9.0, 11.0])
        squared = ((index - centre) ** 2).sum(-1)
        image = np.exp(-squared / 10).astype(np.float32)
        image[:2], image[:, :, 18:] = 0, 0
        image, affine = reoriented(image, OBLIQUE, orientation)
        label, _ = reoriented((squared < 36).astype(np.uint8), OBLIQUE, orientation)
        small_image, small_label, placement = prepared(
            Preprocessing(wanted, (AS_IS,), slice_axis=1), image[None], label, affine
        )
        truth = OBLIQUE[:3, :3] @ centre + OBLIQUE[:3, 3]
        for small, tolerance in ((small_image[0], 0.05), (small_label, 0.3)):
            found = _scan_voxel(_centre_of_mass(small), small.shape, placement)
            assert np.linalg.norm(affine[:3, :3] @ found + affine[:3, 3] - truth) < tolerance


class TestCubic:
    SCAN = np.random.default_rng(0).normal(size=(1, 16, 14, 6)).astype(np.float32)

    def made(self, wanted, own, **settings):
        preprocessing = Preprocessing(wanted, (AS_IS,), interpolation="cubic", **settings)
        return prepared(preprocessing, self.SCAN, np.zeros(self.SCAN.shape[1:], np.uint8), np.diag([*own, 1.0]))[0]

    def test_is_a_spline_rounded_to_a_thousandth_of_a_standard_deviation(self):
        found = self.made((0.7, 0.7, 0.7), (1.0, 1.0, 1.0))
        expected = resample_spline(self.SCAN, found.shape[1:])
        np.testing.assert_allclose(found, expected, atol=0.5 / 1024 + 1e-6)
        np.testing.assert_array_equal(found * 1024, np.rint(found * 1024))
        assert np.abs(found - expected).max() > 1e-4

    @pytest.mark.parametrize(
        ("wanted", "own"),
        [((0.7, 0.7, 2.5), (1.0, 1.0, 3.5)), ((0.7, 0.7, 2.5), (1.0, 1.0, 2.5)), ((1.0, 1.0, 2.0), (2.0, 2.0, 6.5))],
    )
    def test_is_linear_across_thick_slices_of_the_scan_or_of_the_target(self, wanted, own):
        found = self.made(wanted, own)
        np.testing.assert_allclose(found, resample_spline(self.SCAN, found.shape[1:], linear=(2,)), atol=1e-3)

    def test_three_times_as_thick_is_not_thick(self):
        found = self.made((1.0, 1.0, 2.0), (1.0, 1.0, 3.0))
        np.testing.assert_allclose(found, resample_spline(self.SCAN, found.shape[1:]), atol=1e-3)

    def test_a_scan_of_the_wanted_spacing_keeps_every_bit(self):
        np.testing.assert_array_equal(self.made((1.0, 1.0, 3.5), (1.0, 1.0, 3.5)), self.SCAN)
        np.testing.assert_array_equal(self.made(KEPT, (1.0, 1.0, 3.5)), self.SCAN)

    def test_whether_a_header_means_resampling(self):
        grid = Grid((16, 14, 6), np.diag([1.0, 1.0, 3.5, 1.0]))
        wanted = {KEPT: False, (1.0, 1.0, 3.5): False, (1.01, 1.0, 3.5): False, (1.1, 1.0, 3.5): True}
        for spacing, expected in wanted.items():
            assert Preprocessing(spacing, (AS_IS,)).resamples(grid) is expected
        assert not Preprocessing((1.0, 3.5, 1.0), (AS_IS,), slice_axis=1).resamples(grid)


class TestNormalisation:
    def test_of_the_whole_scan_whatever_is_cut_off(self, scan):
        image, label = scan
        image = image * 7 + np.float32(0)
        small, _, _ = prepared(Preprocessing(KEPT, (Z_SCORE,)), image[None], label, np.eye(4))
        expected = (image - image.mean(dtype=float)) / image.std(dtype=float)
        np.testing.assert_allclose(small[0], expected[1:, :-2, 3:], atol=1e-5)
        assert small.dtype == np.float32

    def test_mean_and_deviation_are_0_and_1(self):
        image = np.random.default_rng(0).gamma(2, 300, (1, 16, 16, 16)).astype(np.float32)
        small, _, _ = prepared(Preprocessing(KEPT, (Z_SCORE,)), image, image[0].astype(np.uint8), np.eye(4))
        assert abs(small.mean(dtype=float)) < 1e-6
        assert small.std(dtype=float) == pytest.approx(1, abs=1e-6)

    def test_each_channel_has_its_own_rule(self):
        image = np.stack([np.array([[0.0, 2.0]]), np.array([[10.0, 30.0]])]).astype(np.float32)
        rules = (Z_SCORE, Normalisation(mean=10, sd=5))
        small, _, _ = prepared(Preprocessing((None, None), rules), image, np.zeros((1, 2), np.uint8), np.eye(4))
        np.testing.assert_allclose(small, [[[-1, 1]], [[0, 4]]])

    def test_ct_window_by_hand(self):
        image = np.array([[[-500.0, -100.0, 0.0, 50.0, 300.0, 1000.0]]], dtype=np.float32)
        preprocessing = Preprocessing((None, None), (Normalisation(low=-100, high=300, mean=50, sd=20),))
        small, _, _ = prepared(preprocessing, image, np.zeros((1, 6), np.uint8), np.eye(4))
        np.testing.assert_allclose(small[0, 0], [-7.5, -7.5, -2.5, 0, 12.5, 12.5])

    @pytest.mark.parametrize("foreground_only", [False, True])
    @pytest.mark.parametrize("value", [0, 7, 7e8, -1000])
    def test_a_constant_scan_has_finite_values(self, value, foreground_only):
        image = np.full((1, 5, 4, 3), value, dtype=np.float32)
        rules = (Z_SCORE, Normalisation(low=0, high=0, mean=0, sd=0))
        for rule in rules:
            preprocessing = Preprocessing(KEPT, (rule,), foreground_only=foreground_only)
            small, _, _ = prepared(preprocessing, image, np.zeros((5, 4, 3), np.uint8), np.eye(4))
            assert np.isfinite(small).all()
            assert small.min() == small.max()
            assert value or not small.any()

    def test_a_scan_of_one_voxel(self):
        image = np.full((1, 1, 1, 1), 5, dtype=np.float32)
        small, _, _ = prepared(Preprocessing(KEPT, (Z_SCORE,)), image, np.zeros((1, 1, 1), np.uint8), np.eye(4))
        np.testing.assert_array_equal(small, 0)

    def test_foreground_only_leaves_the_background_alone(self):
        first, second = np.array([[0.0, 1.0, 3.0, 0.0, 2.0]]), np.array([[0.0, 10.0, 0.0, 0.0, 20.0]])
        image = np.stack([first, second]).astype(np.float32)
        preprocessing = Preprocessing((None, None), (Z_SCORE, Z_SCORE), foreground_only=True)
        small, _, _ = prepared(preprocessing, image, np.zeros((1, 5), np.uint8), np.eye(4))
        # Voxels 1, 2 and 4 count, since one channel is enough; voxel 0 is border, voxel 3 stays 0.
        mean, deviation = 10.0, np.sqrt(200 / 3)
        np.testing.assert_allclose(small[0, 0], [-np.sqrt(1.5), np.sqrt(1.5), 0, 0], atol=1e-6)
        np.testing.assert_allclose(small[1, 0], [0, (0 - mean) / deviation, 0, (20 - mean) / deviation], atol=1e-6)

    def test_one_value_everywhere_is_not_divided_by_0(self):
        assert np.array_equal(Z_SCORE.apply(np.full((3, 3), 7, np.float32), None), np.zeros((3, 3)))


def _centre_of_mass(values):
    indices = np.indices(values.shape).reshape(values.ndim, -1)
    return (indices * values.ravel()).sum(1) / values.sum()


def _scan_voxel(position, shape, placement):
    """Voxel of the scan that a position in the prepared array came from; voxels are boxes, their edges aligned."""
    first, last = np.array(placement.box).T
    position = (position + 0.5) * (last - first) / shape - 0.5 + first
    position = np.where(placement.flipped, np.array(placement.shape) - 1 - position, position)
    voxel = np.empty(3)
    voxel[list(placement.order)] = position
    return voxel


class TestRoom:
    def test_a_spacing_that_would_fill_the_memory_is_refused(self):
        preprocessing = Preprocessing((1.0, 1.0, 1.0), (Z_SCORE,))
        preprocessing.require_room(Path("a.nii"), Grid((20, 20, 20), np.diag([2.0, 2.0, 9.0, 1.0])), 1)
        with pytest.raises(InputError, match=r"a\.nii: takes .* GiB .* from 9e\+03 x 2 x 9e\+03 to 1 x 1 x 1 mm, and"):
            preprocessing.require_room(Path("a.nii"), Grid((20, 20, 20), np.diag([9e3, 2.0, 9e3, 1.0])), 1)
