from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from segmend.audit.evidence import AuditedCase
from segmend.audit.examination import measure_label
from segmend.audit.expected_dice import CohortStatistics
from segmend.audit.proposals import propose
from segmend.audit.regions import ErrorKind, find_regions
from segmend.audit.rows import CaseFindings, rank_rows, shifts_boundary
from segmend.core.case import Case
from segmend.data.image import Grid

NAMES = ["background", "organ", "vessel", "node"]
ONES = (1.0, 1.0)
USUAL = CohortStatistics(slack=5.0, excess=0.2, spread=0.3, best_dice=0.95, tolerance=1.0)
CASE = Case("c", (), None, annotator="ann")


@pytest.fixture
def findings_of(examine):
    """All that is found in a case."""

    def find(label, truth):
        examination = examine(label, truth, 4)
        tolerances = {1: 1.0, 2: 1.0, 3: 1.0}
        measured = measure_label(examination, ONES)
        regions = find_regions(examination, ONES, tolerances, None)
        offsets = {index: found.offset for index, found in measured.items() if found.offset}
        return CaseFindings(
            audited=AuditedCase(CASE, examination.evidence, fold=2, corrected={"organ": 1, "vessel": 2, "node": 3}),
            measured=measured,
            corrections={},
            regions=regions,
            proposal=propose(examination, regions, offsets, tolerances, ONES),
        )

    return find


@pytest.fixture
def rows_of(findings_of):
    """All rows of a case, by label."""

    def make(label, truth):
        found = findings_of(label, truth)
        rows = {row.label: row for row in found.label_rows(NAMES, dict.fromkeys((1, 2, 3), USUAL))}
        return rows, found.regions, found.proposal

    return make


@pytest.fixture
def truth(ball):
    label = ball((70, 70), (25, 25), 15).astype(np.uint8)
    label[ball((70, 70), (52, 52), 9)] = 2
    return label


def test_a_good_label(rows_of, truth):
    rows, _, _ = rows_of(truth, truth)
    organ = rows["organ"]
    assert (organ.kind, organ.dice_to_prediction, organ.flagged_voxels) == (ErrorKind.OK, 1, 0)
    assert organ.score > 0.95
    assert organ.expected_dice == 1  # it agrees with the model as a true label does
    assert 0.9 < organ.best_dice < 1
    assert (organ.suspect, organ.reason) == (False, "")
    assert math.isnan(organ.expected_dice_proposal)
    assert (organ.proposal, organ.changed_voxels) == ("none", 0)
    assert math.isnan(organ.proposal_score)
    assert organ.volume_ratio == pytest.approx(1, abs=0.1)
    assert (organ.case, organ.quality, organ.annotator, organ.fold, organ.in_training_set) == (
        "c",
        "noisy",
        "ann",
        2,
        False,
    )
    assert [row.corrected for row in rows.values()] == [1, 2, 3]


def test_a_class_that_nobody_sees(rows_of, truth):
    node = rows_of(truth, truth)[0]["node"]
    assert (node.score, node.kind, node.dice_to_prediction, node.expected_dice) == (1, ErrorKind.OK, 1, 1)
    assert math.isnan(node.distance_mm)
    assert math.isnan(node.offset_mm)
    assert math.isnan(node.volume_ratio)


def test_a_missing_piece(rows_of, truth):
    label = truth.copy()
    label[:24, :26] = 0
    rows, (region,), proposal = rows_of(label, truth)
    organ, wrong = rows["organ"], (label != truth).sum()
    assert (organ.kind, organ.proposal, organ.flagged_voxels) == (ErrorKind.MISSING, "regions", wrong)
    assert organ.changed_voxels == (proposal.label != label).sum() == region.voxels
    assert organ.score < 0.5
    promised = proposal.expected[1].dice(USUAL.slack)
    assert organ.best_dice > promised - 1e-6 > organ.expected_dice
    assert organ.expected_dice_proposal == pytest.approx(promised)  # what differs follows the model everywhere
    assert (organ.suspect, organ.reason) == (True, "relative")
    assert organ.proposal_score == pytest.approx((1 - organ.score) * promised)
    assert organ.volume_ratio < 0.9
    assert rows["vessel"].kind is ErrorKind.OK


def test_a_swap_concerns_both_classes(rows_of, truth):
    label = truth.copy()
    label[truth == 2] = 1
    rows, _, _ = rows_of(label, truth)
    assert rows["organ"].kind is rows["vessel"].kind is ErrorKind.SWAP
    assert rows["organ"].changed_voxels == rows["vessel"].changed_voxels == (truth == 2).sum()
    assert math.isnan(rows["vessel"].offset_mm)
    assert rows["vessel"].dice_to_prediction == 0


def test_a_boundary_too_wide(rows_of, truth, ball):
    label = truth.copy()
    label[ball((70, 70), (25, 25), 19) & (truth == 0)] = 1
    organ = rows_of(label, truth)[0]["organ"]
    assert (organ.kind, organ.proposal) == (ErrorKind.OVER_SEGMENTED, "shift")
    assert organ.offset_mm == pytest.approx(4, abs=0.5)
    assert 0.5 < organ.proposal_score < 1


def test_ranked_are_the_most_suspect_first(rows_of, truth):
    label = truth.copy()
    label[:24, :26] = 0
    rows = list(rows_of(label, truth)[0].values())
    placed = rank_rows([replace(rows[1], case="d"), *rows])
    assert [(row.rank, row.case, row.label) for row in placed] == [
        (1, "c", "organ"),
        (2, "d", "vessel"),
        (3, "c", "vessel"),
        (4, "c", "node"),
    ]


def test_rows_of_regions(findings_of, truth):
    label = truth.copy()
    label[52:60, 40:70], label[0:6, 60:66] = 0, 3
    found = findings_of(label, truth)
    affine = np.array([[-2.0, 0, 0, 10], [0, 3.0, 0, 20], [0, 0, 1, 0], [0, 0, 0, 1]])
    first, second = found.region_rows(NAMES, Grid((70, 70), affine))
    assert (first.region, first.label, first.given, first.suggested) == (2, "vessel", "background", "vessel")
    assert (second.region, second.label, second.given, second.suggested) == (3, "node", "node", "background")
    assert (second.voxels, second.mm3, second.box, second.kind) == (36, 216, "0-5 60-65", ErrorKind.OBJECT_EXTRA)
    assert (second.centre_x_mm, second.centre_y_mm, second.centre_z_mm) == (10 - 2 * 2.5, 20 + 3 * 62.5, 0)


@pytest.mark.parametrize(
    ("correction", "error", "shifted"),
    [(1.0, 0.9, True), (-1.0, 0.9, True), (0.9, 1.0, False), (0.0, math.nan, False), (math.nan, math.nan, False)],
)
def test_offsets_are_corrected_that_are_larger_than_their_error(correction, error, shifted):
    assert shifts_boundary(correction, error) == shifted
