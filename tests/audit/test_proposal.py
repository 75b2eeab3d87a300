from __future__ import annotations

import numpy as np
import pytest

from segmend.audit.measurement import measure_label
from segmend.audit.proposal import propose
from segmend.audit.regions import find_regions
from segmend.core.masks import IGNORE
from segmend.functional.morphology import signed_distance
from segmend.metrics.overlap import dice

ONES = (1.0, 1.0)


def proposed(examine, label, truth, classes=2, tolerance=1.0, **options):
    examination = examine(label, truth, classes, **options)
    tolerances = dict.fromkeys(range(1, classes), tolerance)
    regions = find_regions(examination, ONES, tolerances, None)
    offsets = {index: found.offset for index, found in measure_label(examination, ONES).items() if found.offset}
    return propose(examination, regions, offsets, tolerances, ONES)


def test_a_good_label_stays(examine, ball):
    truth = ball((60, 60), (30, 30), 15).astype(np.uint8)
    proposal = proposed(examine, truth, truth)
    np.testing.assert_array_equal(proposal.label, truth)
    assert not proposal.moved


def test_a_region_is_redrawn_and_the_rest_keeps_its_detail(examine, ball):
    truth = ball((60, 60), (30, 30), 15).astype(np.uint8)
    label = truth.copy()
    label[:28, :30] = 0  # a piece is missing
    label[44, 28:33] = 1  # a detail that the evidence does not see
    proposal = proposed(examine, label, truth)
    np.testing.assert_array_equal(proposal.label[:43], truth[:43])
    np.testing.assert_array_equal(proposal.label[43:], label[43:])
    assert not proposal.moved


@pytest.mark.parametrize("drawn", [10, 20])
def test_a_boundary_off_all_round_is_moved_and_keeps_its_shape(examine, ball, drawn):
    """The annotator saw a notch that the evidence does not."""
    middle = (39.5, 39.5)
    truth = ball((80, 80), middle, 15)
    distance = signed_distance(truth, ONES)
    label = ball((80, 80), middle, drawn)
    label[38:42, 40 + drawn - 5 :] = False
    sure = (1 / (1 + np.exp(-np.abs(distance)))).clip(0.55, 0.98)
    proposal = proposed(examine, label.astype(np.uint8), truth.astype(np.uint8), sure=sure)
    assert set(proposal.moved) == {1}
    assert dice(proposal.label == 1, truth) > 0.93 > dice(label, truth)
    if drawn > 15:  # a boundary that grows closes a notch
        assert not (proposal.label[39:41, 52:55] == 1).any()


def test_a_small_offset_is_no_reason(examine, ball):
    truth, label = (ball((80, 80), (39.5, 39.5), radius).astype(np.uint8) for radius in (15, 18))
    assert not proposed(examine, label, truth, tolerance=4.0).moved
    assert proposed(examine, label, truth, tolerance=2.0).moved


def test_a_false_object_goes_even_if_the_boundary_is_moved(examine, ball):
    middle = (49.5, 49.5)
    truth = ball((100, 100), middle, 20).astype(np.uint8)
    label = ball((100, 100), middle, 25).astype(np.uint8)
    label[5:12, 5:12] = 1
    proposal = proposed(examine, label, truth)
    assert proposal.moved
    assert not proposal.label[:14, :14].any()


def test_moving_one_class_respects_the_others_and_what_is_not_annotated(examine, ball):
    middle = (39.5, 39.5)
    truth = ball((80, 80), middle, 15).astype(np.uint8)
    truth[:, 54:] = 2
    label = ball((80, 80), middle, 11).astype(np.uint8)
    label[:, 54:] = 2
    label[20:30, 30:34] = IGNORE
    proposal = proposed(examine, label, truth, classes=3)
    assert 1 in proposal.moved
    np.testing.assert_array_equal(proposal.label == 2, truth == 2)
    np.testing.assert_array_equal(proposal.label == IGNORE, label == IGNORE)
    known = label != IGNORE
    assert dice((proposal.label == 1) & known, (truth == 1) & known) > 0.95


def test_what_a_class_gives_away_goes_to_whom_it_belongs(examine):
    truth, label = np.zeros((2, 60, 60), np.uint8)
    truth[20:40, 20:40] = 1
    truth[10:20, 10:50], truth[40:50, 10:50], truth[20:40, 10:20], truth[20:40, 40:50] = 2, 2, 2, 2
    label[10:50, 10:50], label[16:44, 16:44] = 2, 1
    proposal = proposed(examine, label, truth, classes=3)
    assert dice(proposal.label == 1, truth == 1) > 0.95
    assert dice(proposal.label == 2, truth == 2) > 0.95


def test_the_given_label_is_not_touched(examine, ball):
    truth = ball((60, 60), (30, 30), 15).astype(np.uint8)
    label = truth.copy()
    label[:30] = 0
    before = label.copy()
    proposed(examine, label, truth)
    np.testing.assert_array_equal(label, before)
