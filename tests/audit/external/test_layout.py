from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest

from segmend.audit.external.layout import Layout, all_layouts
from segmend.data.image import Grid

SHAPE = (5, 6, 7)


def grid_of(codes):
    """A grid whose axes run as these letters say, as nibabel reads them."""
    ornt = nibabel.orientations.axcodes2ornt(codes)
    affine = np.zeros((4, 4))
    for axis, (towards, way) in enumerate(ornt):
        affine[int(towards), axis] = way * (axis + 1)
    affine[3, 3] = 1
    return Grid(SHAPE, affine)


def test_axes_of_simpleitk():
    array = np.arange(210).reshape(SHAPE)
    placed = Layout.reversed_axes("stored", 3).place(array.T, grid_of("LPS"))
    np.testing.assert_array_equal(placed, array)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "SRA", "PSL", "AIR"])
def test_axes_of_a_reader_that_reorients_are_those_of_nibabel(codes):
    grid = grid_of(codes)
    stored = np.arange(210, dtype=np.int32).reshape(SHAPE)
    canonical = np.asarray(nibabel.as_closest_canonical(nibabel.Nifti1Image(stored, grid.affine)).dataobj)
    layout = Layout.reversed_axes("RAS", 3)
    assert layout.fits(canonical.T.shape, grid)
    assert layout.shape_on(grid) == canonical.T.shape
    np.testing.assert_array_equal(layout.place(canonical.transpose(2, 1, 0), grid), stored)


def test_every_order_and_direction_is_there_once():
    layouts = list(all_layouts(3))
    assert len(set(layouts)) == len(layouts) == 96
    assert layouts[0] == Layout.reversed_axes("stored", 3)
    assert Layout.own_axes(3) in layouts
    assert len(list(all_layouts(2))) == 8


def test_only_orders_of_the_same_sides_fit():
    fitting = {str(layout) for layout in all_layouts(3) if layout.fits((7, 6, 5), grid_of("RAS"))}
    ways = itertools.product(("", "-"), repeat=3)
    assert fitting == {
        f"({z}z, {y}y, {x}x) {frame}" for z, y, x in ways for frame in ("as stored", "of the scan in RAS")
    }
    assert not any(layout.fits((7, 6), grid_of("RAS")) for layout in all_layouts(3))
