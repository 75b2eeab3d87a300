from __future__ import annotations

import io

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from refusals import raises

from segmend.core.grid import Grid
from segmend.review.slices import grey, png, view_across, views_of, window_of

SHAPE = (5, 7, 9)


def oblique(axes="RAS", degrees=0.0, spacing=(1.0, 2.0, 3.0)):
    """An affine whose axes run in these directions, tilted about the x and z axes of the patient."""
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    tilt = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    turn = nibabel.orientations.inv_ornt_aff(nibabel.orientations.axcodes2ornt(tuple(axes)), SHAPE)[:3, :3].T
    affine = np.eye(4)
    affine[:3, :3] = tilt @ turn * spacing
    affine[:3, 3] = (10, -20, 30)
    return affine


def views(affine, shape=SHAPE):
    return {view.name: view for view in views_of(Grid(shape, affine))}


class TestOrientation:
    @pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PSR", "SAL", "IPR", "ASL"])
    @pytest.mark.parametrize("degrees", [0, 20])
    def test_right_is_left_and_front_or_head_is_above(self, axes, degrees):
        """The position of the first pixel, of the one right of it and of the one below it, in the patient."""
        affine = oblique(axes, degrees)
        index = np.moveaxis(np.indices(SHAPE), 0, -1)
        for name, rightward, downward in [
            ("axial", (-1, 0, 0), (0, -1, 0)),
            ("coronal", (-1, 0, 0), (0, 0, -1)),
            ("sagittal", (0, -1, 0), (0, 0, -1)),
        ]:
            view = views(affine)[name]
            shown = np.stack([view.turned(index[view.where(1)][..., k]) for k in range(3)], -1)
            place = shown @ affine[:3, :3].T
            assert np.argmax(np.abs(place[0, 1] - place[0, 0])) == np.argmax(np.abs(rightward))
            assert (place[0, 1] - place[0, 0]) @ rightward > 0
            assert (place[1, 0] - place[0, 0]) @ downward > 0

    @pytest.mark.parametrize(("axes", "letters"), [("RAS", ("I", "S")), ("LPI", ("S", "I"))])
    def test_letters_of_the_first_and_last_slice(self, axes, letters):
        assert views(oblique(axes))["axial"].letters == letters

    def test_letters_of_the_sides(self):
        axial, sagittal = views(oblique("LPS"))["axial"], views(oblique("LPS"))["sagittal"]
        assert (axial.across.letters, axial.down.letters) == (("R", "L"), ("A", "P"))
        assert (sagittal.across.letters, sagittal.down.letters) == (("A", "P"), ("S", "I"))
        assert not axial.across.flipped
        assert not axial.down.flipped
        assert sagittal.down.flipped

    def test_thick_slices_come_first(self):
        first = views_of(Grid(SHAPE, oblique("PSR", spacing=(1, 1, 4))))[0]
        assert (first.axis, first.name) == (2, "sagittal")
        assert views_of(Grid(SHAPE, oblique("RAS", spacing=(1, 1, 1))))[0].name == "axial"

    def test_a_picture_is_shown_as_it_is_stored(self):
        (view,) = views_of(Grid((4, 3), np.diag([-1.0, -1.0, 1.0, 1.0])))
        array = np.arange(12).reshape(4, 3)
        assert view.turned(array[view.where(0)]).tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
        assert (view.name, view.axis, view.slices) == ("picture", 2, 1)

    @given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3), st.floats(-25, 25), st.integers(0, 4))
    def test_directions_say_which_voxel_a_pixel_shows(self, order, mirrored, degrees, index):
        axes = "".join("RAS"[k] if not mirrored[k] else "LPI"[k] for k in order)
        array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
        for view in views_of(Grid(SHAPE, oblique(axes, degrees))):
            shown = view.turned(array[view.where(index)])
            voxel = [0, 0, 0]
            voxel[view.axis] = index
            for direction, pixel in ((view.across, 2), (view.down, 1)):
                side = SHAPE[direction.axis]
                voxel[direction.axis] = side - 1 - pixel if direction.flipped else pixel
            assert shown[1, 2] == array[tuple(voxel)]
            assert shown.shape == (SHAPE[view.down.axis], SHAPE[view.across.axis])


class TestRefusals:
    @pytest.mark.parametrize("index", [-1, 9])
    def test_no_such_slice(self, index):
        with raises("invalid-value", "index"):
            views(oblique())["axial"].check(index)

    def test_no_such_axis(self):
        with raises("invalid-value", "axis"):
            view_across(Grid((4, 3), np.eye(4)), 0)
        with raises("invalid-value", "axis"):
            view_across(Grid(SHAPE, np.eye(4)), 3)


class TestGrey:
    def test_window(self):
        values = np.array([-1000, 0, 50, 100, 3000], np.int16)
        assert grey(values, 0, 100).tolist() == [0, 0, 128, 255, 255]

    def test_what_is_not_finite(self):
        assert grey(np.array([np.nan, np.inf, -np.inf]), 0, 1).tolist() == [0, 255, 0]

    def test_unsigned_values_below_the_window_do_not_wrap(self):
        assert grey(np.array([3], np.uint8), 10, 20).tolist() == [0]

    def test_png_is_read_again(self):
        pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
        assert (np.asarray(Image.open(io.BytesIO(png(pixels[:, ::-1])))) == pixels[:, ::-1]).all()
        assert (np.asarray(Image.open(io.BytesIO(png(pixels[..., 0].T)))) == pixels[..., 0].T).all()


class TestWindow:
    def test_percentiles_of_the_part(self):
        values = np.zeros((20, 20, 20), np.float32)
        values[5:15, 5:15, 5:15] = np.arange(1000).reshape(10, 10, 10)
        low, high = window_of(values.__getitem__, (slice(5, 15),) * 3)
        assert (low, high) == pytest.approx((9.99, 989.01))

    def test_of_large_parts_some_voxels_decide(self):
        taken = []

        def sample(where):
            taken.append(where)
            return np.zeros(1)

        window_of(sample, (slice(0, 512), slice(0, 512), slice(100, 600)))
        (where,) = taken
        assert [side.step for side in where] == [10, 10, 10]

    @pytest.mark.parametrize("value", [0.0, 7.0, np.nan, -np.inf])
    def test_constant_or_without_numbers(self, value):
        low, high = window_of(np.full((3, 3), value).__getitem__, (slice(0, 3), slice(0, 3)))
        assert np.isfinite([low, high]).all()
        assert low < high
