from __future__ import annotations

import numpy as np
import pytest

from segmend.functional.shrinkage import known_zero, shrink


def test_equal_estimates_become_their_mean():
    shrunk = shrink([1.0, 1.2, 0.8], [1.0, 1.0, 1.0], [""] * 3)
    assert shrunk.spread == 0
    assert shrunk.mean == pytest.approx([1.0, 1.0, 1.0])
    assert shrunk.group_mean == {"": pytest.approx(1.0)}
    assert shrunk.error == pytest.approx([1 / np.sqrt(3)] * 3)


def test_by_hand():
    # Q = 8, one degree of freedom, scale 1: s^2 = 7; each keeps 7/8 of its distance to the mean.
    shrunk = shrink([-2.0, 2.0], [1.0, 1.0], ["", ""])
    assert shrunk.spread == pytest.approx(np.sqrt(7))
    assert shrunk.mean == pytest.approx([-1.75, 1.75])


def test_what_is_uncertain_is_moved_most():
    shrunk = shrink([3.0, 3.0, -1.0, 0.0, -2.0], [0.1, 5.0, 0.1, 0.1, 0.1], [""] * 5)
    assert shrunk.mean[0] == pytest.approx(3.0, abs=0.05)
    assert shrunk.mean[1] < 1.0
    assert shrunk.error[1] > shrunk.error[0]


def test_each_group_has_its_own_mean():
    random = np.random.default_rng(0)
    estimates = [*(3 + random.normal(0, 1, 30)), *(-3 + random.normal(0, 1, 30))]
    shrunk = shrink(estimates, [1.0] * 60, ["wide"] * 30 + ["tight"] * 30)
    assert shrunk.group_mean["wide"] == pytest.approx(3, abs=0.5)
    assert shrunk.group_mean["tight"] == pytest.approx(-3, abs=0.5)
    assert np.abs(shrunk.mean[:30] - 3).mean() < np.abs(np.array(estimates[:30]) - 3).mean() / 2


def test_a_group_of_one_is_not_taken_at_its_word():
    random = np.random.default_rng(1)
    groups = [name for name in "abcdefgh" for _ in range(10)]
    estimates = [float(value) for value in random.normal(0, 1, 80)]
    alone = shrink([*estimates, 4.0], [1.0] * 81, [*groups, "alone"])
    assert alone.mean[-1] < 2.0


def test_is_better_than_taking_every_estimate_as_it_is():
    random = np.random.default_rng(2)
    true = random.normal(0, 1, 500)
    errors = random.uniform(0.5, 2, 500)
    estimates = true + errors * random.standard_normal(500)
    shrunk = shrink(list(estimates), list(errors), [""] * 500)
    assert np.square(shrunk.mean - true).mean() < 0.7 * np.square(estimates - true).mean()
    assert np.abs((shrunk.mean - true) / shrunk.error).mean() == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)


def test_of_one_estimate_it_is_the_estimate():
    shrunk = shrink([2.5], [1.0], ["x"])
    assert shrunk.mean == pytest.approx([2.5])


class TestKnownZero:
    def test_a_steady_instrument_has_its_bias_and_no_scatter(self):
        bias, scatter = known_zero([1.5] * 8, [0.3] * 8)
        assert bias == pytest.approx(1.5, abs=0.02)
        assert scatter == 0

    def test_a_bias_within_its_own_uncertainty_is_none(self):
        assert known_zero([0.2], [0.5])[0] == 0
        assert 0 < known_zero([1.0], [0.5])[0] < 1

    def test_scatter_beyond_the_errors_is_told(self):
        bias, scatter = known_zero([-4.0, 4.0, -5.0, 5.0], [0.3] * 4)
        assert bias == 0
        assert scatter == pytest.approx(5.2, abs=0.3)

    def test_nothing_known_is_no_bias(self):
        assert known_zero([], []) == (0.0, 0.0)
