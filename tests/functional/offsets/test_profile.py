from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.morphology import signed_distance
from segmend.functional.offsets.profile import (
    best_offset,
    directions,
    expected_dice,
    jackknife_error,
    log_odds,
    moved,
    sums_below,
)


def distance_to(mask: torch.Tensor, spacing: tuple[float, ...]) -> torch.Tensor:
    return torch.from_numpy(signed_distance(mask.numpy(), spacing))


def move(label: torch.Tensor, *offsets: float | torch.Tensor) -> torch.Tensor:
    """The label on a grid of 1 mm with its classes moved."""
    one = (1.0,) * label.ndim
    masks = [label == cls for cls in range(1, len(offsets) + 1)]
    distances = torch.stack(
        [distance_to(mask, one) if mask.any() else torch.full(label.shape, torch.inf) for mask in masks]
    )
    outline = distance_to((label > 0) & (label != IGNORE), one)
    return moved(distances, outline, torch.stack([torch.as_tensor(offset) for offset in offsets]), label)


BOX = torch.zeros(9, 9, dtype=torch.bool)
BOX[3:6, 3:6] = True


def ball(shape, centre, radius, spacing) -> torch.Tensor:
    axes = torch.meshgrid(
        *[torch.arange(side) * step for side, step in zip(shape, spacing, strict=True)], indexing="ij"
    )
    return sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)) < radius**2


class TestDirections:
    def test_share_every_voxel_among_the_sides(self):
        mask = ball((10, 12, 9), (5.0, 5.5, 8.0), 4.0, (1.0, 1.0, 2.0))
        shares = directions(mask, (1.0, 1.0, 2.0))
        assert shares.shape == (6, 10, 12, 9)
        assert (shares >= 0).all()
        assert_close(shares.sum(0), torch.ones(10, 12, 9))

    def test_along_an_axis_are_that_side_alone(self):
        shares = directions(BOX, (1.0, 1.0))
        assert shares[:, 8, 4].tolist() == [1, 0, 0, 0]
        assert shares[:, 4, 0].tolist() == [0, 0, 0, 1]
        assert shares[:, 7, 7].tolist() == pytest.approx([0.5, 0.5, 0, 0])


class TestSums:
    @given(st.integers(0, 10_000))
    @settings(max_examples=25)
    def test_are_those_over_the_moved_region(self, seed):
        random = torch.Generator().manual_seed(seed)
        distance = 3 * torch.randn(5, 6, generator=random)
        maps = torch.rand(2, 5, 6, generator=random)
        offsets = torch.arange(-4, 4, 0.5)
        expected = torch.stack([(maps * (distance < offset)).flatten(1).sum(1) for offset in offsets], dim=1)
        assert_close(sums_below(distance, maps, offsets).float(), expected)

    def test_a_voxel_at_the_offset_is_outside(self):
        assert sums_below(torch.tensor([0.0, 1.0]), torch.ones(1, 2), torch.tensor([0.0, 1.0, 1.5])).tolist() == [
            [0, 1, 2]
        ]


def test_expected_dice_by_hand():
    volume, mass, total = torch.tensor([4.0, 8.0]), torch.tensor([3.0, 4.0]), torch.tensor(5.0)
    assert_close(expected_dice(volume, mass, total), torch.tensor([6 / 9, 8 / 13]))
    assert expected_dice(torch.zeros(1), torch.zeros(1), torch.tensor(0.0)).isfinite().all()


def test_log_odds_are_bounded_by_doubt():
    assert_close(log_odds(torch.tensor([0.5, 0.0, 1.0]), 0.1), torch.tensor([0.0, -math.log(19), math.log(19)]))
    assert log_odds(torch.tensor([0.8]), 1e-9).item() == pytest.approx(math.log(4))


def test_best_offset_is_the_middle_of_the_best():
    offsets = torch.tensor([-1.0, 0.0, 1.0, 2.0])
    assert best_offset(torch.tensor([[0, 5, 5, 1], [9, 0, 0, 0]]), offsets).tolist() == [0.5, -1.0]


def test_jackknife_error_by_hand():
    # Leaving one of four numbers out of their mean: the jackknife gives the standard error of the mean.
    values = np.array([1.0, 2.0, 4.0, 7.0])
    without = torch.tensor([(values.sum() - value) / 3 for value in values])
    assert jackknife_error(without) == pytest.approx(values.std(ddof=1) / 2)


class TestRecovery:
    @pytest.mark.parametrize("true", [-2.0, -1.0, 0.0, 1.5, 3.0])
    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
    def test_the_offset_between_two_balls_is_found(self, true, spacing):
        shape, centre = tuple(int(30 / step) for step in spacing), (15.0, 14.0, 15.0)
        given, truth = (ball(shape, centre, radius, spacing) for radius in (8.0, 8.0 + true))
        offsets = torch.arange(-6, 6, 0.125, dtype=torch.float64)
        distance, p = distance_to(given, spacing), truth[None].float()
        volume, mass = sums_below(distance, torch.ones_like(p), offsets), sums_below(distance, p, offsets)
        found = float(best_offset(expected_dice(volume, mass, p.flatten(1).sum(1)), offsets))
        assert found == pytest.approx(true, abs=0.5)


class TestMoved:
    def test_nothing_moves_by_nothing(self):
        label = BOX.to(torch.uint8)
        assert torch.equal(move(label, 0.0), label)

    def test_one_voxel_outward_and_inward(self):
        label = BOX.to(torch.uint8)
        assert move(label, 1.0).sum() == 9 + 4 * 3 + 4  # corners are 0.91 mm away
        assert move(label, -1.0).sum() == 1

    def test_classes_that_meet_share_the_room(self):
        label = torch.tensor([[1, 1, 0, 0, 0, 0, 2, 2]], dtype=torch.uint8)
        assert move(label, 5.0, 5.0).tolist() == [[1, 1, 1, 1, 2, 2, 2, 2]]
        assert move(label, 3.0, 1.0).tolist() == [[1, 1, 1, 1, 1, 2, 2, 2]]

    def test_a_wall_is_squeezed_from_both_sides(self):
        label = torch.tensor([[0, 1, 1, 1, 2, 2, 2, 2]], dtype=torch.uint8)
        assert move(label, -1.0, 1.0).tolist() == [[0, 0, 1, 2, 2, 2, 2, 2]]

    def test_neighbours_that_shrink_leave_no_gap(self):
        label = torch.tensor([[0, 1, 1, 1, 2, 2, 2, 0]], dtype=torch.uint8)
        assert move(label, -1.0, -1.0).tolist() == [[0, 0, 1, 1, 2, 2, 0, 0]]

    def test_what_is_ignored_stays_ignored_and_what_is_missing_missing(self):
        label = torch.tensor([[IGNORE, 1, 0]], dtype=torch.uint8)
        assert move(label, 2.0, 9.0).tolist() == [[IGNORE, 1, 1]]

    def test_the_offset_may_change_from_place_to_place(self):
        field = torch.zeros(9, 9)
        field[6:] = 1.0
        assert move(BOX.to(torch.uint8), field)[6].tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0]
