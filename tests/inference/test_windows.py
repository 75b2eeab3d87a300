"""Where windows start and what they weigh."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segmend.inference.windows import WindowGrid, outer, window_starts


@pytest.mark.parametrize(
    ("side", "patch", "stride", "expected"),
    [
        (112, 112, 18, (0,)),
        (113, 112, 18, (0, 1)),
        (130, 112, 18, (0, 18)),
        (131, 112, 18, (0, 18, 19)),
        (166, 112, 18, (0, 18, 36, 54)),
        (200, 112, 64, (0, 64, 88)),
        (88, 80, 4, (0, 4, 8)),
        (5, 1, 1, (0, 1, 2, 3, 4)),
        (12, 4, 4, (0, 4, 8)),
        (13, 4, 4, (0, 4, 8, 9)),
    ],
)
def test_starts_by_hand(side, patch, stride, expected):
    assert window_starts(side, patch, stride) == expected


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(1, 40), st.integers(0, 100), st.integers(1, 40))
def test_starts_are_those_of_the_specification(patch, more, stride):
    steps = range(math.ceil(more / stride) + 1)
    assert window_starts(patch + more, patch, stride) == tuple(sorted({min(stride * k, more) for k in steps}))


def test_corners_ascend_along_the_axis_that_is_longest_in_windows():
    grid = WindowGrid((12, 6), (8, 3), (4, 3))  # 1.5 windows long, 2 windows wide
    assert grid.long_axis == 1
    assert grid.corners() == [(0, 0), (4, 0), (0, 3), (4, 3)]
    assert grid.window((4, 3)) == (slice(4, 12), slice(3, 6))


def test_gaussian_weight_by_hand():
    weight = WindowGrid((16, 8), (16, 8), (8, 4)).weight("gaussian")
    assert weight.shape == (16, 8)
    # sigma 2 and 1, centre at 7.5 and 3.5
    assert weight[7, 3].item() == pytest.approx(math.exp(-0.5 * (0.25**2 + 0.5**2)))
    assert weight[0, 7].item() == pytest.approx(math.exp(-0.5 * (3.75**2 + 3.5**2)))
    assert torch.equal(weight, weight.flip(0, 1))


def test_uniform_weight_is_one():
    assert torch.equal(WindowGrid((5, 5), (3, 2), (1, 1)).weight("uniform"), torch.ones(3, 2))


@pytest.mark.parametrize("patch", [(1, 1, 1), (2, 3, 5), (160, 160, 160)])
def test_gaussian_weight_is_nowhere_too_small_to_divide_by(patch):
    assert WindowGrid(patch, patch, patch).weight("gaussian").min() > math.exp(-8) ** 3 * 0.999


@pytest.mark.parametrize("weighting", ["uniform", "gaussian"])
def test_weight_sums_are_those_of_all_windows(weighting):
    grid = WindowGrid((11, 7, 4), (4, 3, 4), (3, 2, 1))
    expected = torch.zeros(grid.shape)
    for corner in grid.corners():
        expected[grid.window(corner)] += grid.weight(weighting)
    torch.testing.assert_close(outer(grid.weight_sums(weighting)), expected)


def test_visit_counts_by_hand():
    grid = WindowGrid((6, 3), (4, 3), (2, 1))
    assert [sums.tolist() for sums in grid.weight_sums("uniform")] == [[1, 1, 2, 2, 1, 1], [1, 1, 1]]
