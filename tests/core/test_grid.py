from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmend.core.errors import InputError
from segmend.core.grid import Grid, checked_grid, slice_axis, thick_axis


class TestGrid:
    grid = Grid((11, 21, 31), np.diag([1.0, 1.0, 2.0, 1.0]))

    def moved(self, change) -> Grid:
        return Grid(self.grid.shape, self.grid.affine + change)

    def test_spacing_is_the_length_of_the_columns(self):
        affine = np.eye(4)
        affine[:3, :3] = [[0, -4, 0], [3, 0, 1], [0, 3, 0]]
        assert Grid((2, 2, 2), affine).spacing == (3, 5, 1)
        assert Grid((2, 2), affine).spacing == (3, 5)

    def test_distance_of_a_shift(self):
        shift = np.zeros((4, 4))
        shift[:3, 3] = [3, 0, -4]
        assert self.grid.distance(self.moved(shift)) == pytest.approx(5)

    def test_distance_grows_with_the_voxel(self):
        stretch = np.zeros((4, 4))
        stretch[2, 2] = 0.01
        assert self.grid.distance(self.moved(stretch)) == pytest.approx(0.31)

    def test_distance_is_found_at_whichever_corner_it_is_largest(self):
        shear = np.zeros((4, 4))
        shear[0, 0], shear[0, 1] = 0.21, -0.11  # cancel at the far corner: 0.21 * 11 = 0.11 * 21
        assert self.grid.distance(self.moved(shear)) == pytest.approx(2.31)
        assert not self.grid.matches(self.moved(shear))

    def test_the_third_axis_of_a_2d_image_does_not_count(self):
        thick = np.diag([1.0, 1.0, 7.0, 1.0])
        assert Grid((5, 5), np.eye(4)).matches(Grid((5, 5), thick))

    def test_matching_needs_the_same_shape_and_place(self):
        rounding = np.full((4, 4), 1e-6)
        assert self.grid.matches(self.moved(rounding))
        assert not self.grid.matches(Grid((11, 21, 30), self.grid.affine))
        assert not self.grid.matches(self.moved(np.eye(4)[[3, 0, 1, 2]]))


class TestChecking:
    path = Path("scan.nii")

    @pytest.mark.parametrize("degrees", [0.0, 0.3])
    def test_rotated_axes_and_rounding_are_fine(self, degrees):
        turn = np.deg2rad(30)
        affine = np.eye(4)
        affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        affine[:3, :3] @= np.array([[1, np.sin(np.deg2rad(degrees)), 0], [0, 1, 0], [0, 0, 4]])
        assert checked_grid(self.path, (3, 3, 3), affine).assumptions == ()

    def test_a_sheared_affine_is_kept_and_said(self):
        affine = np.eye(4)
        affine[0, 1] = 0.05
        grid = checked_grid(self.path, (3, 3, 3), affine)
        assert "not at right angles" in grid.assumptions[0]
        np.testing.assert_array_equal(grid.affine, affine)

    @pytest.mark.parametrize("spacing", [1e-8, 1e6])
    def test_an_impossible_spacing_is_refused(self, spacing):
        with pytest.raises(InputError, match=r"has a voxel spacing of .* mm"):
            checked_grid(self.path, (3, 3, 3), np.diag([spacing, spacing, spacing, 1]))


class TestSliceAxis:
    def test_across_thick_slices(self):
        assert slice_axis(Grid((9, 9, 9), np.diag([*(3.0, 1.0, 1.0), 1.0]))) == 0

    def test_along_the_patient_if_voxels_are_cubes(self):
        affine = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
        assert slice_axis(Grid((9, 9, 9), affine)) == 0
        assert slice_axis(Grid((9, 9, 9), np.eye(4))) == 2

    def test_none_in_2d(self):
        assert slice_axis(Grid((9, 9), np.eye(4))) is None

    def test_slightly_anisotropic_scans_are_sliced_along_the_patient(self):
        """As in training: the audit and the preprocessing have one rule."""
        for spacing in ((1.3, 1.0, 1.0), (1.5, 1.0, 1.0)):
            assert slice_axis(Grid((9, 9, 9), np.diag([*spacing, 1.0]))) == 2
            assert thick_axis(spacing) is None
        assert slice_axis(Grid((9, 9, 9), np.diag([1.51, 1.0, 1.0, 1.0]))) == thick_axis((1.51, 1.0, 1.0)) == 0
