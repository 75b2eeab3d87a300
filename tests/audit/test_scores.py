from __future__ import annotations

import math

import numpy as np
import pytest

from segmend.audit.expectation import Expectation
from segmend.audit.scores import Usual, ranks


def expectation(drawn: int, seen: int = 100, sure: float = 0.95) -> Expectation:
    """Of the first voxels of a row of 1000, of which the first ``seen`` are the object."""
    places = np.arange(1000)
    return Expectation.of(places < drawn, np.where(places < seen, sure, 0.001))


def test_what_is_usual():
    labels = [expectation(drawn) for drawn in (100, 95, 90, 80, 10)]
    usual = Usual.of(labels, [0.5, 1.5, 2.5, float("nan")], voxel=1.0)
    excesses = [label.excess(4.5) for label in labels]  # a twentieth of the median of 90 voxels
    median = sorted(excesses)[2]
    assert usual.slack == 4.5
    assert usual.excess == pytest.approx(median) == pytest.approx(excesses[2])
    assert usual.spread == pytest.approx(1.4826 * sorted(abs(value - median) for value in excesses)[2])
    assert usual.best_dice == pytest.approx(labels[0].best_dice(4.5))
    assert usual.tolerance == 1.5


def test_never_stricter_than_makes_sense():
    usual = Usual.of([expectation(100)] * 3, [0.1], voxel=0.8)
    assert (usual.spread, usual.tolerance) == (0.1, 0.8)
    assert Usual.of([], [], voxel=2.0) == Usual(1.0, 0.0, 0.1, 1.0, 2.0)


def test_half_is_three_spreads_above_what_is_usual():
    label = expectation(60)
    for spreads, score in ((3, 0.5), (0, 1 / (1 + math.exp(-3))), (5, 1 / (1 + math.exp(2)))):
        usual = Usual(5.0, label.excess(5.0) - spreads * 0.2, 0.2, 0.9, 1.0)
        assert usual.score(label) == pytest.approx(score)


def test_a_bad_minority_does_not_hide_behind_itself():
    clean, bad = [expectation(drawn) for drawn in range(93, 107)], [expectation(drawn) for drawn in (30, 40, 200, 0)]
    usual = Usual.of([*clean, *bad], [0.5] * 18, voxel=0.5)
    assert max(map(usual.score, bad)) < 0.5 < min(map(usual.score, clean))


def test_a_hard_scan_is_not_a_bad_label():
    """Two labels with the same Dice to the prediction, one of them where the model hardly sees the object."""
    others = [expectation(drawn) for drawn in range(93, 107)]
    usual = Usual.of(others, [0.5], voxel=0.5)
    assert usual.score(expectation(70)) < 0.5 < usual.score(expectation(70, sure=0.6))


def test_ranks():
    assert ranks([0.3, 0.9, 0.1, 0.3]) == [2, 4, 1, 3]
    assert ranks([]) == []
