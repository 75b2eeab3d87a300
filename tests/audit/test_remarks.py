from __future__ import annotations

from math import nan

import pytest
from audit_rows import made_up_row

from segmend.audit.remarks import remarks
from segmend.audit.scores import CohortStatistics

EXPERT = (nan, nan)
UNSEEN = (0.0, nan)


def rows(*undone, label="organ"):
    return [made_up_row(label=label, correction_mm=offset, correction_se_mm=error) for offset, error in undone]


def usual(best_dice):
    return CohortStatistics(slack=1.0, excess=0.0, spread=0.1, best_dice=best_dice, tolerance=1.0)


def test_where_most_are_surely_off_it_says_how_many_and_by_how_much():
    (said,) = remarks(rows((2.0, 0.5), (-3.0, 0.5), (4.0, 0.5), (0.9, 0.5), EXPERT), {}, "pixels")
    assert said.startswith(
        "3 of 4 noisy labels seem to be over- or under-segmented, with a median offset of 3.0 pixels."
    )


@pytest.mark.parametrize(
    "undone",
    [
        [],
        [EXPERT, EXPERT],
        [UNSEEN],
        [(2.0, 0.5), (0.0, 0.5)],
        [(2.0, 0.5), UNSEEN],
        [(0.9, 0.5), (-0.9, 0.5)],
    ],
)
def test_otherwise_it_says_nothing(undone):
    assert remarks(rows(*undone), {"organ": usual(0.9)}, "mm") == []


def test_classes_with_low_model_confidence_are_reported():
    found = [*rows((0.0, 0.2), label="organ"), *rows(UNSEEN, label="vessel"), *rows((0.0, 0.2), label="bone")]
    organ, vessel = remarks(found, {"organ": usual(0.41), "vessel": usual(0.2), "bone": usual(0.8)}, "mm")
    assert organ.startswith("Low model confidence for 'organ': the median expected Dice of its own outlines is 0.41.")
    assert "need less, and are reported" in organ
    assert vessel.startswith("Low model confidence for 'vessel'")
    assert "need less, and are reported" not in vessel
