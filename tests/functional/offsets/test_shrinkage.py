from __future__ import annotations

import numpy as np
import pytest

from segmend.functional.offsets.shrinkage import (
    Shrunk,
    TeacherBias,
    default_bias,
    estimate_bias,
    shrink,
    spike_and_slab,
)

STEADY = TeacherBias(0.0, 0.0, 0.0)


def shrunk_of(estimates, errors, groups=None, bias: TeacherBias = STEADY) -> Shrunk:
    estimates, errors = list(map(float, estimates)), list(map(float, errors))
    return shrink(estimates, errors, groups or [""] * len(estimates), bias)


def some_zero_of(estimates, errors) -> Shrunk:
    groups = [""] * len(estimates)
    return spike_and_slab(shrunk_of(estimates, errors), estimates, errors, groups, STEADY)


def test_equal_estimates_become_their_mean():
    shrunk = shrunk_of([1.0, 1.02, 0.98], [0.1] * 3)
    assert shrunk.spread == 0
    assert shrunk.mean == pytest.approx([0.99] * 3)  # 1 and noise of 0.1 squared: 99 of 100 parts are true
    assert shrunk.group_mean == {"": pytest.approx(0.99)}
    assert shrunk.error == pytest.approx([np.sqrt(0.01 / 3 + 0.01)] * 3)


def test_by_hand():
    # Their squares sum to 8, where noise explains 1, of one degree of freedom: s^2 = 7; each keeps 7/8.
    shrunk = shrunk_of([-2.0, 2.0], [1.0, 1.0])
    assert shrunk.spread == pytest.approx(np.sqrt(7))
    assert shrunk.mean == pytest.approx([-1.75, 1.75])


def test_what_all_have_in_common_is_no_surer_than_one_of_them():
    """One source was asked about all; a thousand answers do not tell by how much it is wrong about all of them."""
    estimates = np.random.default_rng(0).normal(0.8, 1.0, 1000)
    assert shrunk_of(estimates, [1.0] * 1000).group_mean[""] == 0
    assert shrunk_of(estimates + 4, [1.0] * 1000).group_mean[""] == pytest.approx(4.6, abs=0.1)


def test_the_bias_is_taken_off_and_its_uncertainty_counts():
    estimates, errors = [3.1, 2.9, 3.0], [0.1] * 3
    assert shrunk_of(estimates, errors, bias=TeacherBias(1.0, 0.0, 0.0)).mean == pytest.approx([2.0] * 3, abs=0.02)
    assert shrunk_of(estimates, errors, bias=TeacherBias(1.0, 1.0, 0.0)).mean == pytest.approx([1.5] * 3, abs=0.02)
    assert shrunk_of(estimates, errors, bias=TeacherBias(1.0, 3.0, 0.0)).mean == pytest.approx([0.0] * 3)


def test_scatter_of_the_source_leaves_less_to_be_believed():
    estimates, errors = [-2.0, 2.0, -2.0, 2.0], [0.1] * 4
    steady, shaken = (shrunk_of(estimates, errors, bias=TeacherBias(0.0, 0.0, scatter)) for scatter in (0.0, 2.0))
    assert steady.mean == pytest.approx(estimates, abs=0.02)
    assert np.abs(shaken.mean).max() < 0.6


def test_what_is_uncertain_is_moved_most():
    shrunk = shrunk_of([3.0, 3.0, -1.0, 0.0, -2.0], [0.1, 5.0, 0.1, 0.1, 0.1])
    assert shrunk.mean[0] == pytest.approx(3.0, abs=0.05)
    assert shrunk.mean[1] < 1.0
    assert shrunk.error[1] > shrunk.error[0]


def test_each_group_has_its_own_mean():
    random = np.random.default_rng(0)
    estimates = [*(3 + random.normal(0, 1, 30)), *(-3 + random.normal(0, 1, 30))]
    shrunk = shrunk_of(estimates, [1.0] * 60, ["wide"] * 30 + ["tight"] * 30)
    assert shrunk.group_mean["wide"] == pytest.approx(3, abs=0.5)
    assert shrunk.group_mean["tight"] == pytest.approx(-3, abs=0.5)
    assert np.abs(shrunk.mean[:30] - 3).mean() < np.abs(np.array(estimates[:30]) - 3).mean() / 2


def test_a_group_of_one_is_not_taken_at_its_word():
    random = np.random.default_rng(1)
    groups = [name for name in "abcdefgh" for _ in range(10)]
    estimates = [float(value) for value in random.normal(0, 1, 80)]
    alone = shrunk_of([*estimates, 4.0], [1.0] * 81, [*groups, "alone"])
    assert alone.mean[-1] < 2.0


def test_is_better_than_taking_every_estimate_as_it_is():
    random = np.random.default_rng(2)
    true = random.normal(0, 1, 500)
    errors = random.uniform(0.5, 2, 500)
    estimates = true + errors * random.standard_normal(500)
    shrunk = shrunk_of(estimates, errors)
    assert np.square(shrunk.mean - true).mean() < 0.7 * np.square(estimates - true).mean()
    # What it claims is right for independent errors, and allows for one that all have in common.
    assert 0.7 < np.abs((shrunk.mean - true) / shrunk.error).mean() / np.sqrt(2 / np.pi) < 1.05


def test_one_estimate_is_believed_as_far_as_it_stands_out():
    assert shrunk_of([2.5], [0.1]).mean == pytest.approx([2.5], abs=0.01)
    assert shrunk_of([2.5], [3.0]).mean == [0.0]


def test_where_nothing_is_known_of_the_source_what_all_have_in_common_is_its_bias():
    estimates = [4.9, 5.0, 5.1, 1.0, 1.1, 0.9]
    bias = default_bias(estimates, 0.0)
    shrunk = shrunk_of(estimates, [0.1] * 6, ["wide"] * 3 + ["tight"] * 3, bias=bias)
    assert bias.mean == pytest.approx(3.0)
    assert shrunk.group_mean == {"wide": pytest.approx(2.0, abs=0.01), "tight": pytest.approx(-2.0, abs=0.01)}


class TestKnownZero:
    def test_a_steady_instrument_has_its_bias_and_no_scatter(self):
        bias = estimate_bias([1.5] * 9, [0.3] * 9)
        assert (bias.mean, bias.error, bias.scatter) == (pytest.approx(1.5), pytest.approx(0.1), 0)

    def test_scatter_beyond_the_errors_is_told(self):
        # Squares that sum to 82, where noise explains 3 * 0.09.
        bias = estimate_bias([-4.0, 4.0, -5.0, 5.0], [0.3] * 4)
        assert bias.mean == 0
        assert bias.scatter == pytest.approx(np.sqrt(82 / 3 - 0.09))
        assert bias.error == pytest.approx(np.sqrt(82 / 3 / 4))

    def test_a_scatter_that_is_known_from_elsewhere_makes_the_bias_uncertain_too(self):
        bias = estimate_bias([1.4, 1.5, 1.6, 1.5], [0.1] * 4, least_scatter=2.0)
        assert (bias.mean, bias.scatter) == (pytest.approx(1.5), 2.0)
        assert bias.error == pytest.approx(1.0, abs=0.01)
        assert estimate_bias([-4.0, 4.0], [0.3] * 2, least_scatter=2.0) == estimate_bias([-4.0, 4.0], [0.3] * 2)

    def test_estimates_count_as_their_errors_allow(self):
        assert estimate_bias([1.0, 4.0], [1.0, 3.0]).mean == pytest.approx(1.3)  # weights 9 to 1, and no scatter

    def test_of_nothing_nothing_is_known(self):
        assert estimate_bias([], []) is None


def test_as_probable_to_be_zero_as_not_it_keeps_half():
    # Of -a and a, a spread of 2 a^2 - 1 is found; with a^2 - 1/2 = log 2 a^2 both densities are the same.
    estimates, errors = [-1.3253, 1.3253], [1.0, 1.0]
    shrunk, halved = shrunk_of(estimates, errors), some_zero_of(estimates, errors)
    assert halved.mean == pytest.approx(shrunk.mean / 2, rel=1e-3)
    assert halved.error == pytest.approx(np.sqrt(shrunk.error**2 / 2 + shrunk.mean**2 / 4), rel=1e-3)
    assert (halved.spread, halved.group_mean) == (shrunk.spread, shrunk.group_mean)


def test_where_most_are_zero_these_are_left_there_and_the_others_are_not():
    random = np.random.default_rng(0)
    truth = np.array([0.0] * 60 + [4.0, -4.0] * 10)
    estimates, errors = truth + random.normal(0, 0.4, 80), [0.4] * 80
    everywhere, somewhere = shrunk_of(estimates, errors), some_zero_of(estimates, errors)
    assert np.abs(everywhere.mean[:60]).mean() > 0.25
    assert np.abs(somewhere.mean[:60]).mean() < 0.1
    assert (np.abs(somewhere.mean[:60]) > somewhere.error[:60]).sum() <= 3
    assert (np.abs(everywhere.mean[:60]) > everywhere.error[:60]).sum() >= 15
    assert somewhere.mean[60:] == pytest.approx(everywhere.mean[60:], abs=0.02)


def test_where_none_is_zero_it_does_not_matter_that_some_could_be():
    estimates, errors = np.linspace(1.5, 5, 40) * np.tile([1, -1], 20), [0.3] * 40
    everywhere, somewhere = shrunk_of(estimates, errors), some_zero_of(estimates, errors)
    assert somewhere.mean == pytest.approx(everywhere.mean, abs=0.05)
    assert somewhere.error == pytest.approx(everywhere.error, abs=0.15)


def test_what_may_be_either_is_uncertain():
    estimates, errors = [0.0, 0.1, -0.1, 4.0, -4.0, 1.0], [0.4] * 6
    shrunk = some_zero_of(estimates, errors)
    assert 0.1 < shrunk.mean[5] < 0.85 * shrunk_of(estimates, errors).mean[5]
    assert shrunk.error[5] > 1.1 * shrunk.error[3]
    assert np.isfinite(some_zero_of([50.0, -50.0, 0.0], [0.01] * 3).mean).all()
