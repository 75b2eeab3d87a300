from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segmend.audit.expected_dice import Agreement, CohortStatistics, Expectation, rank_scores

PROBABILITIES = arrays(
    np.float32, array_shapes(min_dims=1, max_dims=3), elements=st.floats(2**-20, 1 - 2**-20, width=32)
)


def test_by_hand():
    """Two voxels of three drawn, one of them rightly; the best outline is the other two."""
    found = Expectation.of(np.array([True, True, False]), np.array([0.9, 0.1, 0.6]))
    assert (found.voxels, found.within, found.total) == (2, pytest.approx(1.0), pytest.approx(1.6))
    assert found.dice(0.4) == pytest.approx((2 + 0.4) / (2 + 1.6 + 0.4))
    assert found.best_dice(0.4) == pytest.approx((3 + 0.4) / (2 + 1.6 + 0.4))
    assert found.excess(0.4) == pytest.approx(math.log(0.4 / 0.15))


def test_the_best_outline_of_an_unsure_model_is_wider_than_what_it_predicts():
    """Half of the optimal Dice is the threshold, not 0.5."""
    probability = np.array([0.9] + [0.4] * 6)
    found = Expectation.of(probability > 0.5, probability)
    assert found.best_dice(0.01) == pytest.approx(2 * 3.3 / (7 + 3.3), abs=1e-3)
    assert found.best_dice(0.01) > found.dice(0.01) + 0.1


def test_a_true_label_reaches_its_own_expectation_on_average():
    """Labels drawn from the probabilities have a mean D of D_t, and so an expected Dice of about 1."""
    rng = np.random.default_rng(0)
    probability = np.clip(rng.normal(0.5, 0.35, 4000), 0.01, 0.99)
    drawn = [Expectation.of(rng.random(4000) < probability, probability) for _ in range(30)]
    assert np.mean([each.dice(1.0) for each in drawn]) == pytest.approx(drawn[0].of_truth(1.0), abs=2e-3)
    statistics = CohortStatistics(1.0, 0.0, 0.1, 0.9, 1.0)
    assert np.mean([statistics.dice(each) for each in drawn]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_independent_errors_lower_the_expected_dice_as_they_lower_the_true_one(share):
    rng = np.random.default_rng(1)
    probability = np.clip(rng.normal(0.5, 0.4, 20000), 0.01, 0.99)
    truth = rng.random(20000) < probability
    label = truth & (rng.random(20000) > share)  # pieces are missing anywhere
    true = 2 * (label & truth).sum() / (label.sum() + truth.sum())
    found = CohortStatistics(1.0, 0.0, 0.1, 0.9, 1.0).dice(Expectation.of(label, probability))
    assert found == pytest.approx(true, abs=0.01)


def draw(rng, probability, share):
    """A label between a true one (share 0) and the outline of the model (share 1)."""
    truth = rng.random(probability.shape) < probability
    return np.where(rng.random(probability.shape) < share, probability > 0.5, truth)


@pytest.fixture
def agreement():
    def make(share, experts=20, others=20):
        rng = np.random.default_rng(0)
        probability = np.clip(rng.normal(0.5, 0.35, 4000), 0.01, 0.99)
        labels = [draw(rng, probability, 0.0) for _ in range(experts)], [draw(rng, probability, share)] * others
        true, noisy = ([Expectation.of(label, probability) for label in of] for of in labels)
        return Agreement(true, [Expectation.of(probability > 0.5, probability)] * experts, noisy)

    return make


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_share_of_the_errors_that_the_model_has_learned(agreement, share):
    found = agreement(share)
    assert found.of_true(1.0) == pytest.approx(1, abs=0.01)
    assert found.shared(1.0) == pytest.approx(share, abs=0.2)


def test_too_few_expert_labels_show_nothing(agreement):
    assert agreement(1.0, experts=2).shared(1.0) == 0
    assert agreement(1.0, experts=2).of_true(1.0) == 1
    assert agreement(1.0, others=0).shared(1.0) == 0
    assert agreement(1.0, experts=3).shared(1.0) > 0.5


def test_expert_labels_set_how_well_right_ones_agree():
    probability = np.array([0.9, 0.9, 0.1, 0.1])
    expert = Expectation.of(np.array([True, False, False, False]), probability)
    known = Agreement([expert] * 5, [Expectation.of(probability > 0.5, probability)] * 5, [expert])
    found = CohortStatistics.of([expert] * 5, [1.0] * 5, 1.0, known)
    assert found.agreement == pytest.approx(expert.dice(found.slack) / expert.of_truth(found.slack))
    assert found.dice(expert) == pytest.approx(1)
    assert CohortStatistics.of([expert] * 5, [1.0] * 5, 1.0).agreement == 1


def test_labels_that_share_errors_with_the_model_are_as_good_as_its_outline():
    found = Expectation.of(np.array([True, True, False]), np.array([0.9, 0.1, 0.6]))
    few, alone, shared = (CohortStatistics(0.4, 0.0, 0.1, 0.9, 1.0, shared=share) for share in (0.05, 0.0, 0.3))
    assert shared.dice(found) == pytest.approx(found.dice(0.4))
    assert shared.dice(found, expert=True) == few.dice(found) == alone.dice(found) > found.dice(0.4)


def test_what_is_redrawn_counts_as_an_outline_of_the_model():
    found = Expectation.of(np.array([True, True, False]), np.array([0.9, 0.1, 0.6]))
    statistics = CohortStatistics(0.4, 0.0, 0.1, 0.9, 1.0)
    as_label = found.dice(0.4) / ((2 * (0.81 + 0.01 + 0.36) + 0.4) / (2 * 1.6 + 0.4))
    assert statistics.dice(found) == pytest.approx(as_label)
    assert statistics.dice(found, redrawn=1) == pytest.approx(found.dice(0.4))
    assert statistics.dice(found, redrawn=0.25) == pytest.approx(0.75 * as_label + 0.25 * found.dice(0.4))


@given(PROBABILITIES, st.data())
def test_no_mask_is_better_than_the_best(probability, data):
    """Up to what the steps of 0.025 between thresholds may cost."""
    mask = data.draw(arrays(np.bool_, probability.shape))
    slack = data.draw(st.floats(0.01, 10))
    found = Expectation.of(mask, probability)
    assert 0 < found.dice(slack) <= 1
    assert found.best_dice(slack) >= found.dice(slack) - 0.026
    assert found.best_dice(slack) >= Expectation.of(probability > 0.5, probability).dice(slack) - 1e-6
    assert math.isfinite(found.excess(slack))


def test_nothing_is_right_where_nothing_is_expected():
    probability, empty = np.full(100, 1e-4), np.zeros(100, dtype=bool)
    nothing, something = Expectation.of(empty, probability), Expectation.of(~empty, probability)
    assert nothing.dice(5.0) == nothing.best_dice(5.0) > 0.99
    assert nothing.excess(5.0) == 0
    assert something.dice(5.0) < 0.06
    assert something.excess(5.0) > 5


def test_something_is_right_where_something_is_expected():
    probability = np.array([0.97] * 50 + [1e-4] * 50)
    assert Expectation.of(np.zeros(100, dtype=bool), probability).excess(5.0) > 2.5
    assert Expectation.of(probability > 0.5, probability).excess(5.0) == pytest.approx(0, abs=1e-6)


def test_an_error_counts_less_where_the_model_is_unsure():
    mask = np.array([True] * 30 + [False] * 70)
    sure, unsure = (np.where(np.arange(100) < 50, p, 1 - p) for p in (0.99, 0.7))
    assert Expectation.of(mask, sure).excess(1.0) > 5 * Expectation.of(mask, unsure).excess(1.0) > 0


def expectation(drawn: int, seen: int = 100, sure: float = 0.95) -> Expectation:
    """Of the first voxels of a row of 1000, of which the first ``seen`` are the object."""
    places = np.arange(1000)
    return Expectation.of(places < drawn, np.where(places < seen, sure, 0.001))


def test_what_is_usual():
    labels = [expectation(drawn) for drawn in (100, 95, 90, 80, 10)]
    usual = CohortStatistics.of(labels, [0.5, 1.5, 2.5, float("nan")], voxel=1.0)
    excesses = [label.excess(4.5) for label in labels]  # a twentieth of the median of 90 voxels
    median = sorted(excesses)[2]
    assert usual.slack == 4.5
    assert usual.excess == pytest.approx(median) == pytest.approx(excesses[2])
    assert usual.spread == pytest.approx(1.4826 * sorted(abs(value - median) for value in excesses)[2])
    assert usual.best_dice == pytest.approx(labels[0].best_dice(4.5))
    assert usual.tolerance == 1.5


def test_never_stricter_than_makes_sense():
    usual = CohortStatistics.of([expectation(100)] * 3, [0.1], voxel=0.8)
    assert (usual.spread, usual.tolerance) == (0.1, 0.8)
    assert CohortStatistics.of([], [], voxel=2.0) == CohortStatistics(1.0, 0.0, 0.1, 1.0, 2.0)


def test_half_is_three_spreads_above_what_is_usual():
    label = expectation(60)
    for spreads, score in ((3, 0.5), (0, 1 / (1 + math.exp(-3))), (5, 1 / (1 + math.exp(2)))):
        usual = CohortStatistics(5.0, label.excess(5.0) - spreads * 0.2, 0.2, 0.9, 1.0)
        assert usual.score(label) == pytest.approx(score)


def test_a_bad_minority_does_not_hide_behind_itself():
    clean, bad = [expectation(drawn) for drawn in range(93, 107)], [expectation(drawn) for drawn in (30, 40, 200, 0)]
    usual = CohortStatistics.of([*clean, *bad], [0.5] * 18, voxel=0.5)
    assert max(map(usual.score, bad)) < 0.5 < min(map(usual.score, clean))


def test_a_hard_scan_is_not_a_bad_label():
    """Two labels with the same Dice to the prediction, one of them where the model hardly sees the object."""
    others = [expectation(drawn) for drawn in range(93, 107)]
    usual = CohortStatistics.of(others, [0.5], voxel=0.5)
    assert usual.score(expectation(70)) < 0.5 < usual.score(expectation(70, sure=0.6))


def test_ranks():
    assert rank_scores([0.3, 0.9, 0.1, 0.3]) == [2, 4, 1, 3]
    assert rank_scores([]) == []
