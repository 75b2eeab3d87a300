from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmend.audit.shift import undone
from segmend.core.masks import IGNORE
from segmend.functional.morphology import signed_distance
from segmend.metrics import dice


def ball(shape, centre, radius):
    index = np.moveaxis(np.indices(shape), 0, -1)
    return ((index - np.array(centre)) ** 2).sum(-1) <= radius**2


@pytest.mark.parametrize("drawn", [7.2, 8.7, 12.5])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)])
def test_a_ball_that_was_drawn_too_wide_or_too_tight(drawn, spacing):
    middle, shape = (19.5,) * 3, (40,) * 3
    label = ball(shape, middle, drawn).astype(np.uint8)
    new = undone(label, {1: (10 - drawn) * spacing[0]}, spacing)
    assert new.dtype == np.uint8
    assert dice(new == 1, ball(shape, middle, 10)) > 0.92
    assert dice(label == 1, ball(shape, middle, 10)) < 0.88


def test_only_the_given_classes_move_and_what_is_ignored_stays():
    label = ball((40, 40), (10, 10), 6).astype(np.uint8)
    label[ball((40, 40), (28, 28), 6)] = 2
    label[:, :6] = IGNORE
    before = label.copy()
    new = undone(label, {1: 2.0}, (1.0, 1.0))
    np.testing.assert_array_equal(label, before)
    np.testing.assert_array_equal(new == 2, label == 2)
    np.testing.assert_array_equal(new == IGNORE, label == IGNORE)
    assert (new == 1).sum() > 1.3 * (label == 1).sum()


@given(st.integers(0, 1000), st.floats(-3, 3))
@settings(max_examples=30)
def test_is_what_a_search_without_a_box_gives(seed, offset):
    rng = np.random.default_rng(seed)
    label = np.zeros((17, 15), np.uint8)
    label[4:12, 5:11] = rng.random((8, 6)) < 0.8
    label[7, 7] = 1
    expected = signed_distance(label == 1, (1.0, 1.0)) < offset
    np.testing.assert_array_equal(undone(label, {1: offset}, (1.0, 1.0)) == 1, expected)


def test_nothing_is_drawn():
    assert not undone(np.zeros((5, 5), np.uint8), {1: 3.0}, (1.0, 1.0)).any()
