from __future__ import annotations

import numpy as np
import pytest

from segmend.labels.audit.scores import Usual, ranks


def test_what_is_usual():
    usual = Usual.of([1.0, 2.0, 3.0, 4.0, 100.0], [0.5, 1.5, 2.5, float("nan")], voxel=1.0)
    assert (usual.disagreement, usual.spread, usual.tolerance) == (3.0, 1.4826, 1.5)


def test_never_stricter_than_the_grid():
    assert Usual.of([1.0, 1.0], [0.1], voxel=0.8) == Usual(1.0, 0.4, 0.8)
    assert Usual.of([], [], voxel=2.0) == Usual(0.0, 1.0, 2.0)


def test_scores():
    usual = Usual(1.0, 0.5, 1.0)
    assert usual.score(0.0) == 1
    assert usual.score(2.5) == 0.5
    assert usual.score(5.0) == pytest.approx(0.2)
    assert usual.score(1.0) == pytest.approx(1 / 1.16)


def test_a_bad_minority_does_not_hide_behind_itself():
    clean = np.random.default_rng(0).uniform(0.8, 1.2, 14).tolist()
    usual = Usual.of([*clean, 5.0, 6.0, 7.0, 8.0], [0.5] * 18, voxel=0.5)
    assert max(map(usual.score, (5.0, 6.0, 7.0, 8.0))) < 0.5 < min(map(usual.score, clean))


def test_ranks():
    assert ranks([0.3, 0.9, 0.1, 0.3]) == [2, 4, 1, 3]
    assert ranks([]) == []
