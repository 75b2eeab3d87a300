from __future__ import annotations

import math

import pytest

from segmend.audit.annotators import AnnotatorMeasurement, Rating, summarise_annotators
from segmend.audit.offsets import Offset


def drawn(annotator, mm, *, error=0.2, all_round=True, ratio=1.0, dice=0.9, label="organ"):
    return AnnotatorMeasurement(annotator, label, ratio, Offset(mm, error, 1.0, all_round), dice)


def test_a_row_for_each_annotator_and_class():
    rows = summarise_annotators(
        [drawn("b", 1), drawn("a", 2), drawn("a", 3, label="vessel"), drawn("b", 1.5)],
        [Rating("b", "organ", 0.8, 0.9), Rating("b", "organ", 0.6, 1.0), Rating("x", "organ", 0.1, 0.1)],
    )
    assert [(row.annotator, row.label, row.cases, row.shared_cases) for row in rows] == [
        ("b", "organ", 2, 2),
        ("a", "organ", 1, 0),
        ("a", "vessel", 1, 0),
    ]
    assert (rows[0].sensitivity, rows[0].specificity) == (pytest.approx(0.7), pytest.approx(0.95))
    assert math.isnan(rows[1].sensitivity)


def test_medians_by_hand():
    (row,) = summarise_annotators(
        [drawn("a", 2, ratio=1.4, dice=0.7), drawn("a", 3, ratio=1.2, dice=0.8), drawn("a", 10, ratio=1.0, dice=0.9)],
        [],
    )
    assert (row.offset_mm, row.volume_ratio, row.dice_to_prediction) == (3, 1.2, 0.8)
    assert row.offset_se_mm == pytest.approx(1.2533 * math.hypot(1.4826 * 1, 0.2) / math.sqrt(3))


@pytest.mark.parametrize(
    ("offsets", "all_round", "verdict"),
    [
        ([2.0, 2.1, 2.2, 2.1], True, "outlined 2.1 mm too wide, all round"),
        ([-1.4, -1.5, -1.6], False, "outlined 1.5 mm too tight"),
        ([-1.0, 0.1, 1.0], True, "no clear bias"),
        ([0.0], True, "no clear bias"),
    ],
)
def test_verdicts(offsets, all_round, verdict):
    (row,) = summarise_annotators([drawn("a", mm, all_round=all_round) for mm in offsets], [])
    assert row.verdict == verdict


def test_one_uncertain_case_convicts_nobody():
    (row,) = summarise_annotators([drawn("a", 3.0, error=2.0)], [])
    assert row.verdict == "no clear bias"


def test_one_annotator_who_draws_too_tight_is_told_from_the_others():
    offsets = {"a": (-2, -2.5, -1.8), "b": (0.2, -0.3, 0.1)}
    rows = summarise_annotators([drawn(annotator, mm) for annotator in offsets for mm in offsets[annotator]], [])
    assert [row.verdict for row in rows] == ["outlined 2.0 mm too tight, all round", "no clear bias"]
