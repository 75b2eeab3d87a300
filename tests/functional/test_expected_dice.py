from __future__ import annotations

import numpy as np
import pytest

from segmend.functional.expected_dice import expected_dice, tempered_map


def test_by_hand():
    """Two voxels, of which p expects one; in all it expects 1.6."""
    assert expected_dice(2, 1.0, 1.6) == pytest.approx(2 / 3.6)
    assert expected_dice(2, 1.0, 1.6, slack=0.4) == pytest.approx(2.4 / 4)


def test_nothing_expected_of_an_empty_mask():
    assert expected_dice(0, 0.0, 0.0, slack=1.0) == 1
    assert expected_dice(0, 0.0, 99.0, slack=1.0) == pytest.approx(0.01)


def test_is_the_mean_dice_over_truths_that_the_probabilities_give():
    """Truths are drawn voxel by voxel: then the ratio of the means is the mean of the ratios, nearly."""
    random = np.random.default_rng(0)
    probability = random.uniform(0, 1, 2000)
    mask = probability + random.normal(0, 0.2, 2000) > 0.5
    truths = random.uniform(0, 1, (500, 2000)) < probability
    dice = 2 * (truths & mask).sum(1) / (truths.sum(1) + mask.sum())
    found = expected_dice(mask.sum(), probability[mask].sum(), probability.sum())
    assert found == pytest.approx(dice.mean(), abs=1e-3)


def test_tempered_map_by_hand():
    """Odds 4, 1 and 1/4 to the powers 1/2 and 2."""
    probability = np.array([0.8, 0.5, 0.2, 0.0, 1.0], np.float32)
    np.testing.assert_allclose(tempered_map(probability, 2.0), [2 / 3, 0.5, 1 / 3, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(tempered_map(probability, 0.5), [16 / 17, 0.5, 1 / 17, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(tempered_map(probability, 1.0), probability, rtol=1e-6)


def test_what_is_not_resolved_becomes_nothing():
    assert tempered_map(np.array([0.001, 0.002], np.float32), 5.0, least=0.001)[0] == 0
    assert tempered_map(np.array([0.001, 0.002], np.float32), 5.0, least=0.001)[1] > 0.1
