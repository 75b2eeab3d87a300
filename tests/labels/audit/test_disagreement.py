from __future__ import annotations

import math

import numpy as np
import pytest

from segmend.labels.audit.disagreement import measure


@pytest.mark.parametrize("shape", [(70, 70, 70), (160, 160)])
@pytest.mark.parametrize("shift", [2, 4])
def test_a_uniform_shift_is_measured_in_millimetres(ball, shape, shift):
    middle = (shape[0] / 2 - 0.5,) * len(shape)
    radius = shape[0] // 3
    true, wide = ball(shape, middle, radius), ball(shape, middle, radius + shift)
    ones = (1.0,) * len(shape)
    too_wide, too_tight = measure(wide, true, wide ^ true, ones), measure(true, wide, wide ^ true, ones)
    assert too_wide.extra == pytest.approx(shift, rel=0.25)
    assert too_tight.missing == pytest.approx(shift, rel=0.25)
    assert too_wide.missing == too_tight.extra == 0
    assert too_wide.balance == pytest.approx(shift, rel=0.25)
    assert too_tight.balance == pytest.approx(-shift, rel=0.25)
    assert too_wide.usual_distance == pytest.approx(shift - 0.5, abs=0.6)
    assert too_wide.total == pytest.approx(too_wide.extra + too_wide.balance / 2)


def test_by_hand():
    """A row of 4 voxels of 2 mm, drawn 2 voxels further; both extra voxels are doubted, and one missing one is not."""
    given, predicted, doubted = np.zeros((3, 1, 12), dtype=bool)
    given[0, 2:8], predicted[0, 1:6], doubted[0, 6:8] = True, True, True
    area = (2 + 2 * 6) * 2 * math.pi / 4  # edges of 2 mm around 6 voxels
    found = measure(given, predicted, doubted, (2.0, 2.0))
    # Distances end half a voxel before the next one: 3 and 1 mm to the drawn surface, 1 and 3 mm to the predicted one.
    assert found.extra == pytest.approx(math.sqrt(2 * 4 * (3 + 1) / area))
    assert found.missing == 0
    assert found.balance == pytest.approx(math.sqrt(2 * 4 * (1 + 3) / area) - math.sqrt(2 * 4 * 1 / area))


def test_depth_weighs(ball):
    """A piece costs more than the same voxels spread along the surface."""
    true = ball((50, 50), (25, 25), 18)
    rim = true & ~ball((50, 50), (25, 25), 17)
    hole = ball((50, 50), (25, 25), 6)
    assert hole.sum() == pytest.approx(rim.sum(), rel=0.1)
    scattered = measure(true & ~rim, true, rim, (1, 1)).total
    deep = measure(true & ~hole, true, hole, (1, 1)).total
    assert deep > 1.5 * scattered


def test_what_is_not_doubted_counts_by_its_balance_only():
    given, predicted, nothing = np.zeros((3, 12, 12), dtype=bool)
    given[2:6], predicted[4:8] = True, True  # two rows too many on one side, two too few on the other
    found = measure(given, predicted, nothing, (1, 1))
    assert (found.extra, found.missing) == (0, 0)
    assert found.balance == pytest.approx(0)


@pytest.mark.parametrize("drawn", [True, False])
def test_one_side_empty(ball, drawn):
    mask, empty = ball((40, 40), (20, 20), 10), np.zeros((40, 40), dtype=bool)
    found = measure(mask, empty, mask, (1, 1)) if drawn else measure(empty, mask, mask, (1, 1))
    assert math.isnan(found.usual_distance)
    assert found.total > 5
    assert (found.extra > 0) == drawn == (found.balance > 0)


def test_an_object_that_fills_the_scan():
    full, half = np.ones((6, 6), dtype=bool), np.zeros((6, 6), dtype=bool)
    half[:3] = True
    assert np.isfinite(measure(full, half, full & ~half, (1, 1)).total)
