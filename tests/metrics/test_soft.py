from __future__ import annotations

import numpy as np
import pytest
from refusals import raises

from segmend.metrics.soft import calibration_error, score_maps


def test_by_hand():
    """Thresholds up to 0.5 agree; from 0.6 on the reference has one voxel and the prediction none."""
    score = score_maps("a", "organ", np.array([[0.5, 0.0]]), np.array([[1.0, 0.0]]), (2.0, 3.0))
    assert score.threshold_dice == pytest.approx(5 / 9)
    assert score.calibration_error == pytest.approx(0.5)
    assert score.brier == pytest.approx(0.25)
    assert (score.volume_prediction, score.volume_reference) == (3, 6)


def test_a_perfect_prediction():
    reference = np.array([0.0, 0.25, 0.5, 1.0])
    score = score_maps("a", "organ", reference, reference, (1.0,))
    assert (score.threshold_dice, score.calibration_error, score.brier) == (1, 0, 0)


def test_calibration_is_a_matter_of_means():
    """Half of the voxels that are predicted with 0.5 are object: calibrated, though each is off."""
    assert calibration_error(np.full(4, 0.5), np.array([0.0, 1.0, 0.0, 1.0])) == pytest.approx(0)
    assert calibration_error(np.array([0.25, 0.25, 0.75, 0.75]), np.array([0, 0, 1, 0])) == pytest.approx(0.25)
    assert calibration_error(np.array([1.0]), np.array([1.0])) == 0


def test_empty_background_does_not_count():
    few, many = (score_maps("a", "o", np.r_[0.5, np.zeros(n)], np.r_[1.0, np.zeros(n)], (1.0,)) for n in (1, 999))
    assert few.calibration_error == many.calibration_error == pytest.approx(0.5)
    nothing = score_maps("a", "o", np.zeros(3), np.zeros(3), (1.0,))
    assert (nothing.threshold_dice, nothing.calibration_error, nothing.brier) == (1, 0, 0)


def test_shapes():
    with raises("mismatch"):
        score_maps("a", "o", np.zeros((2, 2)), np.zeros((2, 3)), (1.0, 1.0))
