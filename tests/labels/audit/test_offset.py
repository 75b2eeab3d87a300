from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.functional.distance import signed_distance
from segmend.labels.audit.offset import boundary_offset


def seen(distance, width=1.0):
    """Probability of an object by the distance to its true surface."""
    return (1 / (1 + np.exp(np.clip(distance / width, -8, 8)))).clip(1e-3, 1 - 1e-3)


@pytest.mark.parametrize("shape", [(48, 48, 48), (60, 60)])
@pytest.mark.parametrize("drawn", [12.0, 15.0, 17.0])
def test_a_shifted_ball(ball, shape, drawn):
    middle = (shape[0] / 2 - 0.5,) * len(shape)
    true = signed_distance(ball(shape, middle, 15), (1.0,) * len(shape))
    offset = boundary_offset(signed_distance(ball(shape, middle, drawn), (1.0,) * len(shape)), seen(true), 1.0)
    assert offset.mm == pytest.approx(drawn - 15, abs=0.35)
    assert offset.clear == (drawn != 15)
    assert offset.gain > 0 if drawn != 15 else offset.gain < 0.01 * true.size


def test_spacing_counts_in_millimetres(ball):
    spacing = (2.0, 2.0, 2.0)
    true = signed_distance(ball((40, 40, 40), (19.5,) * 3, 10), spacing)
    offset = boundary_offset(signed_distance(ball((40, 40, 40), (19.5,) * 3, 12), spacing), seen(true, 2.0), 2.0)
    assert offset.mm == pytest.approx(4, abs=0.8)


def test_by_hand():
    """A row of voxels, drawn to 3, where the evidence sees the end half-way between the voxels 5 and 6."""
    distance = np.arange(10.0)[:, None] - 2.5
    log_odds = np.array([5, 5, 5, 5, 5, 2, -2, -5, -5, -5.0])[:, None]
    offset = boundary_offset(distance, 1 / (1 + np.exp(-log_odds)), 1.0)
    assert offset.mm == pytest.approx(-3.0)
    assert offset.gain == pytest.approx(5 + 5 + 2)


def test_one_side_alone_is_not_all_round(ball):
    true = ball((48, 48), (23.5, 23.5), 14)
    drawn = true.copy()
    drawn[24:] |= ball((48, 48), (23.5, 23.5), 20)[24:]
    offset = boundary_offset(signed_distance(drawn, (1, 1)), seen(signed_distance(true, (1, 1))), 1.0)
    assert offset.mm > 1
    assert not offset.all_round
    assert not offset.clear
    assert offset.standard_error > 1


def test_the_evidence_sees_nothing(ball):
    drawn = ball((30, 30), (15, 15), 6)
    offset = boundary_offset(signed_distance(drawn, (1, 1)), np.full((30, 30), 0.01), 1.0)
    assert offset.mm >= 5.5
    assert offset.gain == pytest.approx(drawn.sum() * np.log(99), rel=1e-3)


@given(st.integers(0, 50))
def test_the_gain_is_what_moving_wins(seed):
    """Against a slow search over all surfaces."""
    rng = np.random.default_rng(seed)
    distance = rng.integers(-3, 6, (6, 7)) + 0.5
    distance.flat[0] = -0.5
    probability = rng.uniform(0.05, 0.95, distance.shape)
    log_odds = np.log(probability / (1 - probability))
    likelihood = {edge: log_odds[distance < edge].sum() for edge in range(-4, 8)}
    offset = boundary_offset(distance, probability, 1.0)
    assert offset.gain == pytest.approx(max(likelihood.values()) - likelihood[0])
    best = max(likelihood, key=likelihood.__getitem__)
    assert abs(-offset.mm - best) <= 0.5 + 1e-9 or likelihood[best] == pytest.approx(0)
