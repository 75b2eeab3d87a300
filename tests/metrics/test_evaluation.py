from __future__ import annotations

import numpy as np
import pytest

from segmend.core.errors import InputError
from segmend.metrics import Score, Status, score_case, score_masks

SPACING = (0.5, 2.0)


def box(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((8, 6), dtype=bool)
    mask[rows, columns] = True
    return mask


EMPTY = box(slice(0, 0), slice(0, 0))
SQUARE = box(slice(2, 4), slice(1, 3))


def test_every_column_of_two_overlapping_objects():
    # Two 2 x 2 squares, one voxel apart along the first axis: half of each voxel column is shared.
    score = score_masks("a", "1", box(slice(3, 5), slice(1, 3)), SQUARE, SPACING, tolerance=0.4)
    assert score == Score(
        case="a",
        label="1",
        dice=0.5,
        jaccard=pytest.approx(1 / 3),
        hd95=0.5,
        asd=0.25,
        assd=0.25,
        mssd=0.5,
        nsd=0.5,
        ravd=0.0,
        volume_prediction=4.0,
        volume_reference=4.0,
        status=Status.OK,
    )
    assert score_masks("a", "1", box(slice(3, 5), slice(1, 3)), SQUARE, SPACING, tolerance=0.5).nsd == 1


def test_directions_and_volumes_are_not_mixed_up():
    score = score_masks("a", "1", SQUARE, box(slice(2, 6), slice(1, 3)), SPACING)
    assert score.asd == 0  # prediction to reference: every predicted voxel lies on the reference's surface
    assert score.assd == pytest.approx((2 * 0.5 + 2 * 1.0) / 12)
    assert (score.volume_prediction, score.volume_reference, score.ravd) == (4.0, 8.0, 0.5)


def test_both_empty_is_perfect():
    assert score_masks("a", "1", EMPTY, EMPTY, SPACING) == Score(
        "a", "1", 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, Status.BOTH_EMPTY
    )


def test_missed_object_has_no_distances():
    assert score_masks("a", "1", EMPTY, SQUARE, SPACING) == Score(
        "a", "1", 0.0, 0.0, None, None, None, None, 0.0, 1.0, 0.0, 4.0, Status.MISSED
    )


def test_false_alarm_has_neither_distances_nor_volume_difference():
    assert score_masks("a", "1", SQUARE, EMPTY, SPACING) == Score(
        "a", "1", 0.0, 0.0, None, None, None, None, 0.0, None, 4.0, 0.0, Status.FALSE_ALARM
    )


def test_each_label_is_scored_by_its_own_value():
    prediction, reference = np.zeros((8, 6), dtype=np.uint8), np.zeros((8, 6), dtype=np.int16)
    prediction[SQUARE] = 1
    reference[SQUARE] = 300
    scores = score_case("a", prediction, reference, {"liver": (300,), "1": (1,), "2": (2,)}, SPACING)
    assert {name: (score.label, score.status) for name, score in scores.items()} == {
        "liver": ("liver", Status.MISSED),
        "1": ("1", Status.FALSE_ALARM),
        "2": ("2", Status.BOTH_EMPTY),
    }


def test_label_arrays_of_different_shapes_are_refused():
    with pytest.raises(InputError, match=r"has shape \(8, 6\), but the reference has \(6, 8\)"):
        score_case("a", SQUARE.astype(int), SQUARE.T.astype(int), {"1": (1,)}, SPACING)
