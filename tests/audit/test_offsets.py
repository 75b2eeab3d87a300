from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmend.audit.offsets import boundary_offset, low_confidence_offset, shift_boundaries
from segmend.core.masks import IGNORE
from segmend.functional.morphology import signed_distance
from segmend.metrics import dice


def seen(distance, width=1.0):
    """Probability of an object by the distance to its true surface."""
    return (1 / (1 + np.exp(np.clip(distance / width, -8, 8)))).clip(1e-3, 1 - 1e-3)


@pytest.mark.parametrize("shape", [(48, 48, 48), (60, 60)])
@pytest.mark.parametrize("drawn", [12.0, 15.0, 17.0])
def test_a_shifted_ball(ball, shape, drawn):
    middle = (shape[0] / 2 - 0.5,) * len(shape)
    true = signed_distance(ball(shape, middle, 15), (1.0,) * len(shape))
    offset = boundary_offset(ball(shape, middle, drawn), seen(true), (1.0,) * len(shape))
    assert offset.mm == pytest.approx(drawn - 15, abs=0.5)
    assert offset.clear == (drawn != 15)
    assert offset.gain > 0 if drawn != 15 else offset.gain < 0.01 * true.size


def test_spacing_counts_in_millimetres(ball):
    spacing = (2.0, 2.0, 2.0)
    true = signed_distance(ball((40, 40, 40), (19.5,) * 3, 10), spacing)
    offset = boundary_offset(ball((40, 40, 40), (19.5,) * 3, 12), seen(true, 2.0), spacing)
    assert offset.mm == pytest.approx(4, abs=0.8)


def test_by_hand():
    """A row of voxels, drawn to 3, where the evidence sees the end half-way between the voxels 5 and 6."""
    drawn = np.arange(10)[:, None] < 3
    log_odds = np.array([5, 5, 5, 5, 5, 2, -2, -5, -5, -5.0])[:, None]
    offset = boundary_offset(drawn, 1 / (1 + np.exp(-log_odds)), (1.0, 1.0))
    assert offset.mm == pytest.approx(-3.0, abs=0.125)
    assert offset.gain == pytest.approx(5 + 5 + 2)


def test_one_side_alone_is_not_all_round(ball):
    true = ball((48, 48), (23.5, 23.5), 14)
    drawn = true.copy()
    drawn[24:] |= ball((48, 48), (23.5, 23.5), 20)[24:]
    offset = boundary_offset(drawn, seen(signed_distance(true, (1, 1))), (1, 1))
    assert offset.mm > 1
    assert not offset.all_round
    assert not offset.clear
    assert offset.standard_error > 0.7  # that of a ball is the step of the search, 0.25


def test_the_evidence_sees_nothing(ball):
    drawn = ball((30, 30), (15, 15), 6)
    offset = boundary_offset(drawn, np.full((30, 30), 0.01), (1, 1))
    assert offset.mm >= 5.5
    assert offset.gain == pytest.approx(drawn.sum() * np.log(99), rel=1e-3)


@given(st.integers(0, 50))
def test_the_gain_is_what_moving_wins(seed):
    """Against a slow search over all surfaces."""
    rng = np.random.default_rng(seed)
    drawn = rng.random((6, 7)) < 0.4
    drawn.flat[:2] = False, True
    probability = rng.uniform(0.05, 0.95, drawn.shape)
    log_odds, distance = np.log(probability / (1 - probability)), signed_distance(drawn, (1, 1))
    likelihood = {edge: log_odds[distance < edge].sum() for edge in np.arange(-5, 5.25, 0.25)}
    offset = boundary_offset(drawn, probability, (1, 1))
    assert offset.gain == pytest.approx(max(likelihood.values()) - likelihood[0], abs=1e-4)
    assert any(
        likelihood[edge] == pytest.approx(max(likelihood.values())) for edge in likelihood if abs(edge + offset.mm) < 1
    )


class TestLowConfidenceEvidence:
    """A model that gives the object 0.3 and all else 0.02: nowhere even odds."""

    shape, middle = (60, 60, 60), (29.5, 29.5, 29.5)

    def low_confidence(self, mask):
        return (0.02 + 0.28 * mask).astype(np.float32)

    @pytest.mark.parametrize("drawn", [12.0, 17.0])
    def test_tells_where_the_surface_is(self, ball, drawn):
        mask, everywhere = ball(self.shape, self.middle, drawn), np.ones(self.shape, dtype=bool)
        found = low_confidence_offset(
            mask, self.low_confidence(ball(self.shape, self.middle, 14.5)), everywhere, (1.0,) * 3
        )
        assert found.offset == pytest.approx(14.5 - drawn, abs=0.75)
        assert found.contrast > 5

    def test_what_is_not_annotated_does_not_count(self, ball):
        mask = ball(self.shape, self.middle, 14.5)
        evidence, annotated = self.low_confidence(mask), np.ones(self.shape, dtype=bool)
        evidence[30:] = self.low_confidence(ball(self.shape, self.middle, 18.0))[30:]
        disturbed = low_confidence_offset(mask, evidence, annotated, (1.0,) * 3)
        annotated[30:] = False
        assert abs(low_confidence_offset(mask, evidence, annotated, (1.0,) * 3).offset) < 0.75 < abs(disturbed.offset)


def sphere(shape, centre, radius):
    index = np.moveaxis(np.indices(shape), 0, -1)
    return ((index - np.array(centre)) ** 2).sum(-1) <= radius**2


@pytest.mark.parametrize("drawn", [7.2, 8.7, 12.5])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)])
def test_a_ball_that_was_drawn_too_wide_or_too_tight(drawn, spacing):
    middle, shape = (19.5,) * 3, (40,) * 3
    label = sphere(shape, middle, drawn).astype(np.uint8)
    new = shift_boundaries(label, {1: (10 - drawn) * spacing[0]}, spacing)
    assert new.dtype == np.uint8
    assert dice(new == 1, sphere(shape, middle, 10)) > 0.92
    assert dice(label == 1, sphere(shape, middle, 10)) < 0.88


def test_only_the_given_classes_move_and_what_is_ignored_stays():
    label = sphere((40, 40), (10, 10), 6).astype(np.uint8)
    label[sphere((40, 40), (28, 28), 6)] = 2
    label[:, :6] = IGNORE
    before = label.copy()
    new = shift_boundaries(label, {1: 2.0}, (1.0, 1.0))
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
    np.testing.assert_array_equal(shift_boundaries(label, {1: offset}, (1.0, 1.0)) == 1, expected)


def test_nothing_is_drawn():
    assert not shift_boundaries(np.zeros((5, 5), np.uint8), {1: 3.0}, (1.0, 1.0)).any()
