from __future__ import annotations

import numpy as np
import pytest

from segmend.audit.kinds import Drawn, Kind
from segmend.functional.morphology import dilate, erode, signed_distance

ONES = (1.0, 1.0, 1.0)
SHAPE, CENTRE = (40, 40, 40), (20.0, 20.0, 20.0)


@pytest.fixture
def organ(ball):
    return ball(SHAPE, CENTRE, 12)


def half(mask, axis=0, keep=slice(None, 20)):
    result = np.zeros_like(mask)
    where = [slice(None)] * mask.ndim
    where[axis] = keep
    result[tuple(where)] = mask[tuple(where)]
    return result


def thickness(region, spacing=ONES):
    """Of the largest ball that fits in."""
    return -2 * float(signed_distance(region, spacing[: region.ndim]).min())


class TestMissing:
    def test_a_piece(self, organ):
        given = half(organ)
        assert Drawn(given, ONES, 2).kind_of_missing(organ & ~given, thickness(organ & ~given)) is Kind.MISSING

    @pytest.mark.parametrize("side", [3, 5])
    def test_a_layer_all_round(self, organ, side):
        given = erode(organ, side)
        assert Drawn(given, ONES, 2).kind_of_missing(organ & ~given, thickness(organ & ~given)) is Kind.BOUNDARY_IN

    def test_a_thin_layer_on_one_side(self, organ):
        given = half(organ, keep=slice(None, 31))
        assert Drawn(given, ONES, 2).kind_of_missing(organ & ~given, thickness(organ & ~given)) is Kind.BOUNDARY_IN

    def test_an_object(self, organ, ball):
        other = ball(SHAPE, (4, 4, 4), 3)
        assert Drawn(organ, ONES, 2).kind_of_missing(other, thickness(other)) is Kind.OBJECT_MISSING
        assert (
            Drawn(np.zeros(SHAPE, dtype=bool), ONES, 2).kind_of_missing(organ, thickness(organ)) is Kind.OBJECT_MISSING
        )

    @pytest.mark.parametrize("keep", [slice(None, 26), slice(14, None)])
    def test_slices_at_an_end(self, organ, keep):
        given = half(organ, axis=2, keep=keep)
        assert Drawn(given, ONES, 2).kind_of_missing(organ & ~given, thickness(organ & ~given)) is Kind.SLICES
        assert Drawn(given, ONES, 0).kind_of_missing(organ & ~given, thickness(organ & ~given)) is not Kind.SLICES

    def test_slices_in_the_middle(self, organ):
        given = organ.copy()
        given[..., 17:22] = False
        assert Drawn(given, ONES, 2).kind_of_missing(organ & ~given, thickness(organ & ~given)) is Kind.SLICES

    def test_in_2d(self, ball):
        disc = ball((40, 40), (20, 20), 12)
        for given, kind in ((half(disc), Kind.MISSING), (erode(disc, 5), Kind.BOUNDARY_IN)):
            region = disc & ~given
            assert Drawn(given, (1.0, 1.0), None).kind_of_missing(region, thickness(region)) is kind


class TestExtra:
    def test_a_piece(self, organ, ball):
        knob = ball(SHAPE, (36, 20, 20), 6) & ~organ
        assert Drawn(organ | knob, ONES, 2).kind_of_extra(knob, thickness(knob)) is Kind.EXTRA

    def test_a_layer(self, organ):
        given = dilate(organ, 5)
        assert Drawn(given, ONES, 2).kind_of_extra(given & ~organ, thickness(given & ~organ)) is Kind.BOUNDARY_OUT

    def test_an_object(self, organ, ball):
        other = ball(SHAPE, (4, 4, 4), 3)
        most = half(other, keep=slice(None, 6))
        assert Drawn(organ | other, ONES, 2).kind_of_extra(other, thickness(other)) is Kind.OBJECT_EXTRA
        assert Drawn(organ | other, ONES, 2).kind_of_extra(most, thickness(most)) is Kind.OBJECT_EXTRA

    def test_the_middle_of_an_object(self, organ, ball):
        hole = ball(SHAPE, CENTRE, 5)
        assert Drawn(organ & ~hole, ONES, 2).kind_of_missing(hole, 10.0) is Kind.MISSING
        assert Drawn(organ, ONES, 2).kind_of_extra(ball(SHAPE, CENTRE, 5), 10.0) is Kind.EXTRA


class TestSwap:
    def test_a_whole_object(self, organ, ball):
        other = ball(SHAPE, (4, 4, 4), 3)
        assert Drawn(organ, ONES, 2).kind_of_swap(other, thickness(other)) is Kind.SWAP

    def test_a_border_between_two_classes(self, organ):
        given, layer = half(organ), half(organ, keep=slice(20, 22))
        assert Drawn(given, ONES, 2).kind_of_swap(layer, thickness(layer)) is Kind.BOUNDARY_IN
        assert Drawn(given, ONES, 2).kind_of_swap(half(organ, keep=slice(20, None)), 12.0) is Kind.SWAP


def test_spacing_decides_what_is_thin(organ):
    """Three slices are a layer if they are thin, and a piece if they are thick."""
    given = half(organ, axis=2, keep=slice(None, 20))
    piece = half(organ, axis=2, keep=slice(20, 23))
    assert Drawn(given, (1, 1, 0.5), 0).kind_of_missing(piece, 1.5) is Kind.BOUNDARY_IN
    assert Drawn(given, (1, 1, 3.0), 0).kind_of_missing(piece, 9.0) is Kind.MISSING
