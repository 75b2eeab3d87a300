from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from segmend.functional.stratified import (
    Estimate,
    Stratum,
    allocate,
    divide,
    estimate_fraction,
    probability_below,
)


class TestStrata:
    def test_equal_sums_of_spreads(self):
        expected = np.array([0.9, 0.1, 0.2, 0.3, 0.8, 0.7])
        assert divide(expected, np.ones(6), 3).tolist() == [2, 0, 0, 1, 2, 1]
        # The lowest weighs as much as all others together.
        assert divide(expected, np.array([1.0, 5, 1, 1, 1, 1]), 2).tolist() == [1, 0, 1, 1, 1, 1]

    def test_equal_values_stay_together(self):
        assert divide(np.array([0.5, 0.5, 0.5]), np.ones(3), 3).tolist() == [0, 0, 0]
        assert divide(np.array([0.5, 0.9, 0.9, 0.9]), np.ones(4), 4).tolist() == [0, 1, 1, 1]

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 6))
    def test_strata_are_intervals_without_gaps_in_their_numbers(self, values, strata):
        expected = np.array(values)
        found = divide(expected, np.ones(len(values)), strata)
        assert sorted(set(found.tolist())) == list(range(found.max() + 1))
        assert found.max() < strata
        assert (np.diff(found[np.argsort(expected, kind="stable")]) >= 0).all()

    def test_probability_below(self):
        found = probability_below(np.array([0.8, 0.7, 0.0, 1.0]), 0.8)
        np.testing.assert_allclose(found, [0.5, stats.norm.cdf(1), 0.95, 0.05])


class TestAllocation:
    def test_neyman_by_hand(self):
        sizes, spreads = np.array([100, 100]), np.array([0.1, 0.4])
        assert allocate(sizes, spreads, 20).tolist() == [4, 16]
        assert allocate(sizes, spreads, 20, "proportional").tolist() == [10, 10]

    def test_a_small_stratum_is_checked_whole_and_the_rest_goes_to_the_others(self):
        assert allocate(np.array([3, 100, 100]), np.array([0.5, 0.01, 0.01]), 13).tolist() == [3, 5, 5]

    @given(st.lists(st.tuples(st.integers(1, 50), st.floats(0.05, 0.5)), min_size=1, max_size=6), st.data())
    def test_keeps_its_bounds(self, strata, data):
        sizes, spreads = (np.array(column) for column in zip(*strata, strict=True))
        total = data.draw(st.integers(len(sizes), int(sizes.sum())))
        found = allocate(sizes, spreads, total)
        assert found.sum() == total
        assert (found >= 1).all()
        assert (found <= sizes).all()
        if total >= np.minimum(sizes, 2).sum():
            assert (found >= np.minimum(sizes, 2)).all()


class TestLimits:
    def test_by_hand_of_four_labels(self):
        """Two of four checked, none erroneous: with 3 erroneous ones this could not be, with 2 it has 1/6."""
        assert Stratum(4, 2, 0).limits() == (0.0, 0.5)
        assert Stratum(4, 2, 0).limits(0.6) == (0.0, 0.25)  # 1/6 is below the tail of 0.2; with one it has 1/2
        assert Stratum(4, 2, 2).limits() == (0.5, 1.0)

    def test_all_checked_is_certain(self):
        assert Stratum(7, 7, 3).limits() == (3 / 7, 3 / 7)

    @pytest.mark.parametrize(("checked", "found"), [(10, 0), (10, 3), (40, 40)])
    def test_of_a_large_stratum_they_are_those_of_clopper_and_pearson(self, checked, found):
        exact = stats.binomtest(found, checked).proportion_ci(0.95, "exact")
        np.testing.assert_allclose(Stratum(40_000, checked, found).limits(), exact, atol=5e-4)


class TestEstimate:
    def test_by_hand(self):
        """100 labels with 2 of 10 erroneous, 300 with none of 5."""
        found = estimate_fraction([Stratum(100, 10, 2), Stratum(300, 6, 0)])
        assert found.fraction == pytest.approx(0.25 * 0.2)
        assert found.standard_error == pytest.approx(math.sqrt(0.25**2 * 0.9 * 0.2 * 0.8 / 9))
        (low, high), (_, other) = Stratum(100, 10, 2).limits(), Stratum(300, 6, 0).limits()
        assert found.low == pytest.approx(0.05 - 0.25 * (0.2 - low))
        assert found.high == pytest.approx(0.05 + math.hypot(0.25 * (high - 0.2), 0.75 * other))

    @pytest.mark.parametrize("turned", [False, True])
    def test_with_few_findings_distances_are_added(self, turned):
        """One of 32 and one of 8: squares would leave out what is true with two erroneous labels in each."""
        both = [Stratum(200, 32, 31 if turned else 1), Stratum(50, 8, 7 if turned else 1)]
        found = estimate_fraction(both)
        limits = [stratum.limits() for stratum in both]
        if turned:
            assert found.high == pytest.approx(0.8 * limits[0][1] + 0.2 * limits[1][1])
        else:
            assert found.low == pytest.approx(0.8 * limits[0][0] + 0.2 * limits[1][0]) == 0.8 / 200 + 0.2 / 50

    def test_one_stratum_has_its_exact_interval(self):
        found = estimate_fraction([Stratum(50, 10, 3)])
        assert (found.low, found.high) == pytest.approx(Stratum(50, 10, 3).limits())

    def test_nothing_found_is_not_certainty(self):
        found = estimate_fraction([Stratum(500, 10, 0), Stratum(100, 30, 0)])
        assert (found.fraction, found.standard_error, found.low) == (0, 0, 0)
        assert found.high > 0.2

    def test_a_census_is_certain(self):
        assert estimate_fraction([Stratum(4, 4, 1), Stratum(6, 6, 6)]) == Estimate(0.7, 0.0, 0.7, 0.7)

    def test_a_single_checked_label_has_no_standard_error(self):
        assert math.isnan(estimate_fraction([Stratum(10, 1, 0), Stratum(10, 5, 1)]).standard_error)
        assert estimate_fraction([Stratum(1, 1, 1), Stratum(10, 5, 0)]).standard_error == 0


@cache
def estimated(strata: tuple[tuple[int, int, int], ...]) -> Estimate:
    return estimate_fraction([Stratum(*each) for each in strata])


@pytest.mark.parametrize(
    ("sizes", "erroneous", "budget"),
    [
        ((100,), (10,), 20),
        ((500,), (2,), 40),
        ((200, 20, 20), (4, 2, 10), 30),
        ((50, 50, 50, 50), (0, 0, 5, 30), 40),
        ((40, 40, 40, 40), (10, 10, 10, 10), 20),
        ((20, 20, 20), (20, 20, 18), 15),
        ((200, 50), (2, 2), 40),
        ((50, 20), (2, 1), 20),
        ((300, 30, 30), (0, 0, 0), 20),
        ((1000, 1000, 1000, 1000, 1000), (5, 10, 20, 200, 800), 25),
    ],
)
def test_the_estimate_is_unbiased_and_its_interval_covers(sizes, erroneous, budget):
    """Over 2000 samples: 95 % or more of the intervals hold the truth, but for chance (0.5 % is its deviation)."""
    random = np.random.default_rng(0)
    fractions = np.array(erroneous) / np.array(sizes)
    counts = allocate(np.array(sizes), np.sqrt((fractions * (1 - fractions)).clip(0.05)), budget)
    truth = sum(erroneous) / sum(sizes)
    drawn = np.stack(
        [
            random.hypergeometric(bad, size - bad, count, 2000)
            for bad, size, count in zip(erroneous, sizes, counts, strict=True)
        ],
        axis=1,
    )
    found = [estimated(tuple(zip(sizes, counts.tolist(), row, strict=True))) for row in drawn.tolist()]
    errors = np.array([each.fraction for each in found]) - truth
    assert abs(errors.mean()) <= 4 * errors.std() / math.sqrt(len(errors)) + 1e-12
    assert np.mean([each.low - 1e-9 <= truth <= each.high + 1e-9 for each in found]) >= 0.94
