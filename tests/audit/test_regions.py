from __future__ import annotations

import numpy as np
import pytest

from segmend.audit import regions as module
from segmend.audit.kinds import Kind
from segmend.audit.regions import find_regions, issue_map
from segmend.functional.morphology import dilate

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
        assert region.kind is Kind.MISSING
        assert region.voxels == pytest.approx(wrong.sum(), rel=0.15)
        assert not (region.mask & ~wrong[region.box]).any()
        np.testing.assert_allclose(region.centre, np.argwhere(wrong).mean(0), atol=0.7)
        assert region.thickness > 4
        assert region.score == pytest.approx(0.97 * region.thickness / (region.thickness + 1), abs=0.01)

    def test_an_extra_piece(self, examine, truth):
        label = truth.copy()
        label[1:8, 16:24, 14:22] = 1
        region = one(examine, label, truth)
        assert (region.label, region.given, region.suggested, region.kind) == (1, 1, 0, Kind.EXTRA)

    def test_a_boundary_too_wide_and_too_tight(self, examine, truth):
        wide = np.where(dilate(truth == 1, 7) & (truth == 0), 1, truth)
        region, *_ = found(examine, wide, truth)[0]
        assert (region.label, region.kind) == (1, Kind.BOUNDARY_OUT)
        region, *_ = found(examine, truth, wide)[0]
        assert (region.label, region.kind) == (1, Kind.BOUNDARY_IN)

    def test_a_missing_object(self, examine, truth):
        label = truth.copy()
        label[30:, 28:] = 0
        region = one(examine, label, truth)
        assert (region.label, region.kind) == (1, Kind.OBJECT_MISSING)
        assert region.voxels == (label != truth).sum()

    def test_a_missing_class(self, examine, truth):
        region = one(examine, np.where(truth == 2, 0, truth), truth)
        assert (region.label, region.given, region.suggested, region.kind) == (2, 0, 2, Kind.OBJECT_MISSING)

    def test_a_false_object(self, examine, truth):
        label = truth.copy()
        label[36:42, 2:8, 28:34] = 2
        region = one(examine, label, truth)
        assert (region.label, region.given, region.suggested, region.kind) == (2, 2, 0, Kind.OBJECT_EXTRA)
        assert region.box == (slice(36, 42), slice(2, 8), slice(28, 34))

    def test_classes_swapped(self, examine, truth):
        label = truth.copy()
        label[30:, 28:][truth[30:, 28:] == 1] = 2
        region = one(examine, label, truth)
        assert (region.label, region.given, region.suggested, region.kind) == (1, 2, 1, Kind.SWAP)

    def test_slices_skipped_at_an_end(self, examine, truth):
        label = truth.copy()
        label[:28, :, 22:] = 0
        assert one(examine, label, truth).kind is Kind.SLICES

    def test_in_2d(self, examine, ball):
        truth = ball((60, 60), (30, 30), 18).astype(np.uint8)
        label = truth.copy()
        label[:28, :30] = 0
        (region,) = find_regions(examine(label, truth), (1.0, 1.0), {1: 1.0}, None)
        assert (region.kind, region.centre.shape) == (Kind.MISSING, (2,))


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
        assert examination.issues[jitter].all()

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
        assert [region.kind for region in regions] == [Kind.MISSING, Kind.OBJECT_MISSING, Kind.OBJECT_EXTRA]
        assert [region.weight for region in regions] == sorted((region.weight for region in regions), reverse=True)
        monkeypatch.setattr(module, "MOST", 2)
        assert len(found(examine, label, truth)[0]) == 2

    def test_map_of_issues(self, examine, truth):
        label = truth.copy()
        label[30:, 28:] = 0
        label[36:42, 2:8, 28:34] = 2
        label[16, 20, 30] = 1  # a single voxel is doubted, and no region
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
