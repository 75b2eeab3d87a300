from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from segmend.functional.components import without_small_holes, without_small_regions


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


def test_crumbs_leave_nothing():
    crumbs = torch.zeros(11, 11, dtype=torch.bool)
    crumbs[::2, ::2] = True
    assert not without_small_regions(crumbs, 0.1).any()


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
