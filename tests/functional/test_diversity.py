from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.functional.diversity import FeatureGroup, choose_diverse, gower_similarity

NAN = math.nan


def similar(matrix):
    return lambda index: np.array(matrix, float)[index]


class TestGower:
    def test_numbers_and_categories_by_hand(self):
        numbers = FeatureGroup(np.array([[0.0, 10.0], [2.0, 10.0], [4.0, 10.0]]))  # the second distinguishes none
        categories = FeatureGroup(np.array([[0.0], [0.0], [1.0]]), categorical=True)
        found = gower_similarity([numbers, categories])(0)
        np.testing.assert_allclose(found, [1, (0.5 + 1) / 2, (0 + 0) / 2])

    def test_a_group_weighs_the_same_however_many_features_it_has(self):
        many = FeatureGroup(np.array([[0.0] * 9, [1.0] * 9]))
        one = FeatureGroup(np.array([[0.0, 0.0], [0.0, 1.0]]), categorical=True)
        assert gower_similarity([many, one])(0)[1] == 0
        equal = FeatureGroup(np.array([[0.0, 3.0], [0.0, 4.0], [1.0, 3.0]]), categorical=True)
        three = FeatureGroup(np.array([[0.0] * 9, [1.0] * 9, [1.0] * 9]))
        np.testing.assert_allclose(gower_similarity([three, equal])(0), [1, 0.25, 0.25])

    def test_what_is_not_known_of_both_is_left_out(self):
        numbers = FeatureGroup(np.array([[0.0], [NAN], [4.0]]))
        categories = FeatureGroup(np.array([[0.0], [0.0], [1.0]]), categorical=True)
        found = gower_similarity([numbers, categories])
        np.testing.assert_allclose(found(0), [1, 1, 0])
        np.testing.assert_allclose(found(1), [1, 1, 0])

    @pytest.mark.parametrize("values", [np.full((3, 2), NAN), np.ones((3, 1)), np.empty((3, 0))])
    def test_nothing_to_compare(self, values):
        np.testing.assert_array_equal(gower_similarity([FeatureGroup(values)])(1), [0, 0, 0])

    @given(st.integers(2, 8), st.integers(0, 99))
    def test_is_symmetric_and_one_to_itself(self, cases, seed):
        random = np.random.default_rng(seed)
        groups = [
            FeatureGroup(random.normal(size=(cases, 3))),
            FeatureGroup(random.integers(0, 2, (cases, 2)).astype(float), categorical=True),
        ]
        matrix = np.stack([gower_similarity(groups)(index) for index in range(cases)])
        np.testing.assert_allclose(matrix, matrix.T)
        np.testing.assert_allclose(matrix.diagonal(), 1)
        assert ((matrix >= 0) & (matrix <= 1)).all()


class TestChoice:
    TWINS = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    GAINS = np.array([1.0, 0.9, 0.5])

    def test_without_diversity_it_is_the_order_of_gains(self):
        chosen = choose_diverse(self.GAINS, similar(self.TWINS), 3, 0.0)
        assert [each.index for each in chosen] == [0, 1, 2]
        assert [each.value for each in chosen] == [1.0, 0.9, 0.5]

    def test_what_equals_a_chosen_case_loses_the_weight_of_diversity(self):
        chosen = choose_diverse(self.GAINS, similar(self.TWINS), 3, 0.5)
        assert [each.index for each in chosen] == [0, 2, 1]  # 0.9 * 0.5 is less than 0.5
        assert [each.value for each in chosen] == pytest.approx([1.0, 0.5, 0.45])
        assert [(each.nearest, each.similarity) for each in chosen] == [(None, 0.0), (None, 0.0), (0, 1.0)]

    def test_equal_gains_are_spread_out(self):
        """Four points on a line: after the first the one furthest away, as in the k-centre problem."""
        place = np.array([0.0, 0.1, 0.6, 1.0])
        matrix = 1 - np.abs(place[:, None] - place)
        chosen = choose_diverse(np.ones(4), similar(matrix), 4, 1.0)
        assert [each.index for each in chosen] == [0, 3, 2, 1]

    def test_cases_without_any_gain_come_last_and_are_spread_out(self):
        chosen = choose_diverse(np.array([0.0, 0.0, 0.2]), similar([[1, 0, 0.2], [0, 1, 0.9], [0.2, 0.9, 1]]), 3, 0.5)
        assert [each.index for each in chosen] == [2, 0, 1]
