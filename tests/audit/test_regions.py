from __future__ import annotations

import numpy as np
import pytest

from segmend.audit import regions as module
from segmend.audit.regions import (
    ErrorKind,
    RegionClassifier,
    contact_area,
    find_regions,
    issue_map,
    surface_distances,
)
from segmend.functional.morphology import dilate, erode, signed_distance

ONES = (1.0, 1.0, 1.0)
SHAPE = (44, 40, 36)


@pytest.fixture
def truth(ball):
    """A large organ (1), a vessel beside it (2), and a node apart (1)."""
    label = ball(SHAPE, (16, 20, 18), 10).astype(np.uint8)
    label[30:38, 14:22, 10:26] = 2
    label[ball(SHAPE, (38, 34, 6), 4)] = 1
    return label


def found(examine, label, truth, tolerance=1.0, **options):
    examination = examine(label, truth, 3, **options)
    return find_regions(examination, ONES, {1: tolerance, 2: tolerance}, 2), examination


def one(examine, label, truth):
    (region,), _ = found(examine, label, truth)
    return region


class TestKinds:
    """One error of each kind, and its place and size."""

    def test_nothing_is_wrong(self, examine, truth):
        assert found(examine, truth, truth)[0] == []

    def test_a_missing_piece(self, examine, truth):
        label = truth.copy()
        label[8:16, 10:20, 18:28] = 0
        region = one(examine, label, truth)
        wrong = label != truth
        assert (region.label, region.given, region.suggested) == (1, 0, 1)
        assert region.kind is ErrorKind.MISSING
        assert region.voxels == pytest.approx(wrong.sum(), rel=0.15)
        assert not (region.mask & ~wrong[region.box]).any()
        np.testing.assert_allclose(region.centre, np.argwhere(wrong).mean(0), atol=0.7)
        assert region.thickness > 4
        assert region.score == pytest.approx(0.97 * region.thickness / (region.thickness + 1), abs=0.01)

    def test_an_extra_piece(self, examine, truth):
        label = truth.copy()
        label[1:8, 16:24, 14:22] = 1
        region = one(examine, label, truth)
        assert (region.label, region.given, region.suggested, region.kind) == (1, 1, 0, ErrorKind.EXTRA)

    def test_a_boundary_too_wide_and_too_tight(self, examine, truth):
        wide = np.where(dilate(truth == 1, 7) & (truth == 0), 1, truth)
        region, *_ = found(examine, wide, truth)[0]
        assert (region.label, region.kind) == (1, ErrorKind.OVER_SEGMENTED)
        region, *_ = found(examine, truth, wide)[0]
        assert (region.label, region.kind) == (1, ErrorKind.UNDER_SEGMENTED)

    def test_a_missing_object(self, examine, truth):
        label = truth.copy()
        label[30:, 28:] = 0
        region = one(examine, label, truth)
        assert (region.label, region.kind) == (1, ErrorKind.OBJECT_MISSING)
        assert region.voxels == (label != truth).sum()

    def test_a_missing_class(self, examine, truth):
        region = one(examine, np.where(truth == 2, 0, truth), truth)
        assert (region.label, region.given, region.suggested, region.kind) == (2, 0, 2, ErrorKind.OBJECT_MISSING)

    def test_a_false_object(self, examine, truth):
        label = truth.copy()
        label[36:42, 2:8, 28:34] = 2
        region = one(examine, label, truth)
        assert (region.label, region.given, region.suggested, region.kind) == (2, 2, 0, ErrorKind.OBJECT_EXTRA)
        assert region.box == (slice(36, 42), slice(2, 8), slice(28, 34))

    def test_classes_swapped(self, examine, truth):
        label = truth.copy()
        label[30:, 28:][truth[30:, 28:] == 1] = 2
        region = one(examine, label, truth)
        assert (region.label, region.given, region.suggested, region.kind) == (1, 2, 1, ErrorKind.SWAP)

    def test_slices_skipped_at_an_end(self, examine, truth):
        label = truth.copy()
        label[:28, :, 22:] = 0
        assert one(examine, label, truth).kind is ErrorKind.SLICES

    def test_in_2d(self, examine, ball):
        truth = ball((60, 60), (30, 30), 18).astype(np.uint8)
        label = truth.copy()
        label[:28, :30] = 0
        (region,) = find_regions(examine(label, truth), (1.0, 1.0), {1: 1.0}, None)
        assert (region.kind, region.centre.shape) == (ErrorKind.MISSING, (2,))


class TestTolerance:
    def test_what_is_thinner_than_twice_the_tolerance_is_left_alone(self, examine, truth):
        label = np.where(dilate(truth == 1, 7) & (truth == 0), 1, truth)  # three voxels too wide
        assert found(examine, label, truth, tolerance=1.0)[0]
        assert not found(examine, label, truth, tolerance=4.0)[0]

    def test_a_deep_error_does_not_take_the_jitter_of_the_border_with_it(self, examine, truth):
        label = truth.copy()
        label[8:16, 10:20, 18:28] = 0
        label = np.where(dilate(truth == 1, 3) & (truth == 0) & (label == 0), 1, label)
        label[8:16, 10:20, 18:28] = 0
        (region,), examination = found(examine, label, truth)
        jitter = (label == 1) & (truth == 0)
        assert jitter.sum() > 1000
        assert not region.mask[jitter[region.box]].any()
        assert examination.flagged[jitter].all()

    def test_doubt_alone_makes_no_region(self, examine, truth):
        label = truth.copy()
        label[8:16, 10:20, 18:28] = 0
        assert not found(examine, label, truth, sure=0.75)[0]


class TestSeveral:
    def test_the_most_important_come_first_and_the_rest_is_dropped(self, examine, truth, monkeypatch):
        label = truth.copy()
        label[30:, 28:] = 0
        label[36:42, 2:8, 28:34] = 2
        label[8:16, 10:20, 18:28] = 0
        regions, _ = found(examine, label, truth)
        assert [region.kind for region in regions] == [
            ErrorKind.MISSING,
            ErrorKind.OBJECT_MISSING,
            ErrorKind.OBJECT_EXTRA,
        ]
        assert [region.weight for region in regions] == sorted((region.weight for region in regions), reverse=True)
        monkeypatch.setattr(module, "MOST", 2)
        assert len(found(examine, label, truth)[0]) == 2

    def test_map_of_issues(self, examine, truth):
        label = truth.copy()
        label[30:, 28:] = 0
        label[36:42, 2:8, 28:34] = 2
        label[16, 20, 30] = 1  # a single voxel is flagged, and no region
        regions, examination = found(examine, label, truth)
        issues = issue_map(examination, regions)
        assert issues.dtype == np.uint8
        assert issues[16, 20, 30] == 1
        assert issues[38, 34, 6] == 2
        assert (issues[36:42, 2:8, 28:34] == 3).all()
        assert set(np.unique(issues)) == {0, 1, 2, 3}

    def test_what_is_not_annotated_is_never_wrong(self, examine, truth):
        label = truth.copy()
        label[30:, 28:] = 255
        assert found(examine, label, truth)[0] == []


CUBE, CENTRE = (40, 40, 40), (20.0, 20.0, 20.0)


@pytest.fixture
def organ(ball):
    return ball(CUBE, CENTRE, 12)


def half(mask, axis=0, keep=slice(None, 20)):
    result = np.zeros_like(mask)
    where = [slice(None)] * mask.ndim
    where[axis] = keep
    result[tuple(where)] = mask[tuple(where)]
    return result


def thickness(region, spacing=ONES):
    """Of the largest ball that fits in."""
    return -2 * float(signed_distance(region, spacing[: region.ndim]).min())


def missing(given, organ, slice_axis=2):
    """Kind of all that a label lacks of an organ."""
    lacking = organ & ~given
    return RegionClassifier(given, ONES, slice_axis).kind_of_missing(lacking, thickness(lacking))


class TestMissing:
    def test_a_piece(self, organ):
        given = half(organ)
        assert missing(given, organ) is ErrorKind.MISSING

    @pytest.mark.parametrize("side", [3, 5])
    def test_a_layer_all_round(self, organ, side):
        given = erode(organ, side)
        assert missing(given, organ) is ErrorKind.UNDER_SEGMENTED

    def test_a_thin_layer_on_one_side(self, organ):
        given = half(organ, keep=slice(None, 31))
        assert missing(given, organ) is ErrorKind.UNDER_SEGMENTED

    def test_an_object(self, organ, ball):
        other = ball(CUBE, (4, 4, 4), 3)
        assert RegionClassifier(organ, ONES, 2).kind_of_missing(other, thickness(other)) is ErrorKind.OBJECT_MISSING
        assert (
            RegionClassifier(np.zeros(CUBE, dtype=bool), ONES, 2).kind_of_missing(organ, thickness(organ))
            is ErrorKind.OBJECT_MISSING
        )

    @pytest.mark.parametrize("keep", [slice(None, 26), slice(14, None)])
    def test_slices_at_an_end(self, organ, keep):
        given = half(organ, axis=2, keep=keep)
        assert missing(given, organ) is ErrorKind.SLICES
        assert missing(given, organ, slice_axis=0) is not ErrorKind.SLICES

    def test_slices_in_the_middle(self, organ):
        given = organ.copy()
        given[..., 17:22] = False
        assert missing(given, organ) is ErrorKind.SLICES

    def test_in_2d(self, ball):
        disc = ball((40, 40), (20, 20), 12)
        for given, kind in ((half(disc), ErrorKind.MISSING), (erode(disc, 5), ErrorKind.UNDER_SEGMENTED)):
            region = disc & ~given
            assert RegionClassifier(given, (1.0, 1.0), None).kind_of_missing(region, thickness(region)) is kind


class TestExtra:
    def test_a_piece(self, organ, ball):
        knob = ball(CUBE, (36, 20, 20), 6) & ~organ
        assert RegionClassifier(organ | knob, ONES, 2).kind_of_extra(knob, thickness(knob)) is ErrorKind.EXTRA

    def test_a_layer(self, organ):
        given = dilate(organ, 5)
        assert (
            RegionClassifier(given, ONES, 2).kind_of_extra(given & ~organ, thickness(given & ~organ))
            is ErrorKind.OVER_SEGMENTED
        )

    def test_an_object(self, organ, ball):
        other = ball(CUBE, (4, 4, 4), 3)
        most = half(other, keep=slice(None, 6))
        assert RegionClassifier(organ | other, ONES, 2).kind_of_extra(other, thickness(other)) is ErrorKind.OBJECT_EXTRA
        assert RegionClassifier(organ | other, ONES, 2).kind_of_extra(most, thickness(most)) is ErrorKind.OBJECT_EXTRA

    def test_the_middle_of_an_object(self, organ, ball):
        hole = ball(CUBE, CENTRE, 5)
        assert RegionClassifier(organ & ~hole, ONES, 2).kind_of_missing(hole, 10.0) is ErrorKind.MISSING
        assert RegionClassifier(organ, ONES, 2).kind_of_extra(ball(CUBE, CENTRE, 5), 10.0) is ErrorKind.EXTRA


class TestSwap:
    def test_a_whole_object(self, organ, ball):
        other = ball(CUBE, (4, 4, 4), 3)
        assert RegionClassifier(organ, ONES, 2).kind_of_swap(other, thickness(other)) is ErrorKind.SWAP

    def test_a_border_between_two_classes(self, organ):
        given, layer = half(organ), half(organ, keep=slice(20, 22))
        assert RegionClassifier(given, ONES, 2).kind_of_swap(layer, thickness(layer)) is ErrorKind.UNDER_SEGMENTED
        assert RegionClassifier(given, ONES, 2).kind_of_swap(half(organ, keep=slice(20, None)), 12.0) is ErrorKind.SWAP


def test_spacing_decides_what_is_thin(organ):
    """Three slices are a layer if they are thin, and a piece if they are thick."""
    given = half(organ, axis=2, keep=slice(None, 20))
    piece = half(organ, axis=2, keep=slice(20, 23))
    assert RegionClassifier(given, (1, 1, 0.5), 0).kind_of_missing(piece, 1.5) is ErrorKind.UNDER_SEGMENTED
    assert RegionClassifier(given, (1, 1, 3.0), 0).kind_of_missing(piece, 9.0) is ErrorKind.MISSING


@pytest.mark.parametrize("drawn", [True, False])
def test_distances_where_one_surface_is_missing(ball, drawn):
    mask, empty = ball((40, 40), (20, 20), 10), np.zeros((40, 40), dtype=bool)
    to_given, to_predicted = surface_distances(*((mask, empty) if drawn else (empty, mask)), (1, 1))
    np.testing.assert_array_equal(to_given, to_predicted)
    assert to_given[20, 20] < 0 < to_given[0, 0]


def test_contact_by_hand():
    first, second = np.zeros((2, 4, 3, 2), dtype=bool)
    first[0, :, :], second[1, 0:2, :] = True, True
    assert contact_area(first, second, (1, 1, 1)) == 4
    assert contact_area(second, first, (5, 2, 3)) == 4 * 2 * 3
