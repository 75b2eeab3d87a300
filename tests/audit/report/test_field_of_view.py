from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.audit.report.field_of_view import Side, field_of_view


def box(*sides: tuple[int, int]) -> tuple[slice, ...]:
    return tuple(slice(*side) for side in sides)


def shown(sides: tuple[Side, ...]) -> list[int]:
    return [side.count for side in sides]


def test_a_small_scan_is_shown_whole():
    sides = field_of_view(box((3, 5), (0, 1), (9, 10)), (20, 30, 10), (1, 1, 5), most=6000)
    assert [(side.start, side.length, side.count) for side in sides] == [(0, 20, 20), (0, 30, 30), (0, 10, 10)]
    assert [list(side.voxels) for side in sides] == [list(range(20)), list(range(30)), list(range(10))]


def test_in_a_large_scan_every_voxel_around_the_place():
    sides = field_of_view(box((500, 510), (500, 510)), (1000, 1000), (1, 1), most=10_000)
    for side in sides:
        assert side.start < 500 - 32
        assert side.start + side.length > 510 + 32
        assert side.step == 1
    assert 10_000 / 1.25 < math.prod(shown(sides)) <= 10_000


def test_what_is_too_large_is_shown_coarser_but_equally_along_all_axes():
    whole = box((0, 400), (0, 400), (0, 100))
    x, y, z = field_of_view(whole, (400, 400, 100), (0.5, 0.5, 2), most=2_000_000)
    assert x.length == y.length == 400
    assert x.count == y.count < 400
    assert x.step * 0.5 == pytest.approx(y.step * 0.5)
    assert z.step == 1  # 2 mm apart as they are, wider than the others have to be
    assert x.step * 0.5 < 2
    x, y, z = field_of_view(whole, (400, 400, 100), (0.5, 0.5, 2), most=10_000)
    assert x.step * 0.5 == pytest.approx(z.step * 2, rel=0.05)


def test_a_thin_axis_keeps_its_only_voxel():
    sides = field_of_view(box((0, 500), (0, 500), (0, 1)), (500, 500, 1), (1, 1, 1), most=1000)
    assert sides[2] == Side(0, 1, 1)
    assert math.prod(shown(sides)) <= 1000


def test_voxels_are_spread_evenly_with_equal_ends():
    assert list(Side(7, 10, 5).voxels) == [1, 3, 5, 7, 9]
    assert list(Side(7, 9, 3).voxels) == [1, 4, 7]
    assert Side(7, 9, 3).box == slice(7, 16)


@given(st.data())
def test_the_place_is_always_seen_with_no_more_voxels_than_asked(data):
    n = data.draw(st.integers(2, 3))
    shape = data.draw(st.lists(st.integers(1, 300), min_size=n, max_size=n))
    spacing = data.draw(st.lists(st.floats(0.05, 10), min_size=n, max_size=n))
    place = [sorted(data.draw(st.tuples(st.integers(0, s - 1), st.integers(0, s - 1)))) for s in shape]
    most = data.draw(st.integers(1, 100_000))
    sides = field_of_view(box(*[(low, high + 1) for low, high in place]), shape, spacing, most)
    assert math.prod(shown(sides)) <= most
    for side, (low, high), length in zip(sides, place, shape, strict=True):
        assert 0 <= side.start <= low <= high < side.start + side.length <= length
        assert 1 <= side.count <= side.length
        assert 0 <= side.voxels[0] <= side.voxels[-1] < side.length
        assert (np.diff(side.voxels) >= 1).all()
