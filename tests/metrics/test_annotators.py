from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmend.core.errors import InputError
from segmend.metrics import dice, threshold_dice


def masks(*rows: list[int]) -> list[np.ndarray]:
    return [np.array(row, bool) for row in rows]


def test_by_hand():
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
