from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.extra.numpy import arrays

from segmend.core.errors import InputError
from segmend.metrics import dice, jaccard, mean_dice, ravd, threshold_dice

MASKS = arrays(np.bool_, (2, 3, 4))

EMPTY = np.zeros((3, 4), dtype=bool)

FULL = np.ones((3, 4), dtype=bool)


def line(first: int, last: int, length: int = 10) -> np.ndarray:
    mask = np.zeros((length, 1, 1), dtype=bool)
    mask[first : last + 1] = True
    return mask


def test_two_of_six_voxels_found():
    prediction, reference = line(2, 3), line(2, 7)
    assert dice(prediction, reference) == 0.5
    assert jaccard(prediction, reference) == pytest.approx(1 / 3)
    assert ravd(prediction, reference) == pytest.approx(4 / 6)
    assert ravd(reference, prediction) == 2.0


@pytest.mark.parametrize("metric", [dice, jaccard])
def test_overlap_with_empty_masks(metric):
    assert metric(EMPTY, EMPTY) == 1
    assert metric(EMPTY, FULL) == 0
    assert metric(FULL, EMPTY) == 0
    assert metric(FULL, FULL) == 1


def test_volume_difference_with_empty_masks():
    assert ravd(EMPTY, EMPTY) == 0
    assert ravd(EMPTY, FULL) == 1
    with pytest.raises(InputError, match=r"reference: is empty"):
        ravd(FULL, EMPTY)


@pytest.mark.parametrize("metric", [dice, jaccard, ravd])
def test_masks_that_numpy_would_compare_wrongly_are_refused(metric):
    with pytest.raises(InputError, match=r"prediction: has shape \(3, 4\), but the reference has \(1, 3, 4\)"):
        metric(FULL, FULL[None])
    with pytest.raises(InputError, match=r"reference: is of type uint8, not bool"):
        metric(FULL, FULL.astype(np.uint8))


@settings(derandomize=True, deadline=None, max_examples=50)
@given(MASKS, MASKS, st.permutations([0, 1, 2]))
def test_overlap_counts_voxels_and_nothing_else(prediction, reference, axes):
    found = {tuple(v) for v in np.argwhere(prediction)}
    true = {tuple(v) for v in np.argwhere(reference)}
    if found or true:
        assert dice(prediction, reference) == pytest.approx(2 * len(found & true) / (len(found) + len(true)))
        assert jaccard(prediction, reference) == pytest.approx(len(found & true) / len(found | true))
    if true:
        assert ravd(prediction, reference) == pytest.approx(abs(len(found) - len(true)) / len(true))
    assert dice(prediction, reference) == dice(reference, prediction)
    assert dice(prediction.transpose(axes), reference.transpose(axes)) == dice(prediction, reference)


def test_the_mean_is_over_foreground_classes_where_the_class_is_known():
    reference = np.array([0, 1, 1, 2, 2, 255, 255], dtype=np.uint8)
    prediction = np.array([1, 1, 0, 2, 2, 1, 2], dtype=np.uint8)
    assert mean_dice(prediction, reference, objects=[(1,), (2,)]) == (0.5 + 1) / 2
    assert mean_dice(prediction, reference, objects=[(1,), (2,), (3,)]) == (0.5 + 1 + 1) / 3
    assert np.isnan(mean_dice(prediction, np.full_like(reference, 255), objects=[(1,), (2,)]))


def masks(*rows: list[int]) -> list[np.ndarray]:
    return [np.array(row, bool) for row in rows]


def test_threshold_dice_by_hand():
    # Shares of the annotators: 1, 2/3, 1/3, 0. Thresholds 0.1-0.3: three voxels are in, 0.4-0.6: two, 0.7-0.9: one.
    annotations = masks([1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0])
    # The prediction has, at the same thresholds: 0.1-0.5: the first two, 0.6-0.9: the first.
    probability = np.array([0.95, 0.55, 0.05, 0.0])
    expected = (3 * 0.8 + 2 * 1.0 + 2 / 3 + 3 * 1.0) / 9
    assert threshold_dice(probability, annotations) == pytest.approx(expected)


def test_a_value_that_is_the_threshold_is_in():
    annotations = masks([1, 1], [1, 1], [1, 1], [1, 0], [1, 0])
    assert threshold_dice(np.array([1.0, 0.6]), annotations, [0.6]) == 1
    assert threshold_dice(np.array([1.0, 0.59]), annotations, [0.6]) == pytest.approx(2 / 3)
    tenths = masks(*[[1] * k + [0] * (10 - k) for k in range(1, 11)])
    assert threshold_dice(np.arange(10, 0, -1) / 10, tenths) == 1


def test_thresholds_at_which_nothing_is_left_agree():
    assert threshold_dice(np.array([0.2, 0.0]), masks([1, 0], [0, 0], [0, 0], [0, 0])) == 1


@settings(max_examples=25, deadline=None, derandomize=True)
@given(hnp.arrays(bool, (3, 4)), hnp.arrays(float, (3, 4), elements=st.floats(0, 1)))
def test_of_one_annotator_and_a_hard_prediction_it_is_dice(annotation, probability):
    hard = probability >= 0.5
    assert threshold_dice(hard.astype(float), [annotation]) == pytest.approx(dice(hard, annotation))


@pytest.mark.parametrize(
    ("annotations", "message"),
    [([], "there are none"), (masks([1, 0, 0]), "shape"), ([np.array([1, 0])], "bool")],
)
def test_says_what_does_not_fit(annotations, message):
    with pytest.raises(InputError, match=message):
        threshold_dice(np.array([0.5, 0.5]), annotations)
