from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.selection import (
    hard_voxels,
    low_loss_chances,
    low_losses,
    small_loss_voxels,
    smaller_half,
    smallest,
    smallest_share,
)


@pytest.mark.parametrize(
    ("losses", "count", "expected"),
    [
        ([0.1, 0.9, 0.2, 0.8], 2, [[0, 2], [1, 3]]),
        ([0.7, 0.2, 0.6, 0.1], 2, [[1, 3], [0, 2]]),
        ([1.0, 1.0, 1.0], 2, [[0, 1], [2]]),
        ([1.0, 2.0], 0, [[], [0, 1]]),
        ([1.0, 2.0], 2, [[0, 1], []]),
    ],
)
def test_smallest_takes_exactly_that_many(losses, count, expected):
    assert [each.tolist() for each in smallest(torch.tensor(losses), count)] == expected


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([3.0, 1.0, 2.0, 4.0], [[1, 2], [0, 3]]), ([3.0, 1.0, 2.0], [[1], [0, 2]]), ([3.0], [[0], []]), ([], [[], []])],
)
def test_the_smaller_half_is_at_least_one(losses, expected):
    halves = smaller_half(torch.tensor(losses), torch.zeros(len(losses), 2))
    assert [each.tolist() for each in halves] == expected


def test_samples_without_a_label_come_last_in_the_smaller_half():
    label = torch.tensor([[IGNORE, IGNORE], [IGNORE, 0], [0, 0], [1, 1]])
    halves = smaller_half(torch.tensor([0.0, 4.0, 3.0, 5.0]), label)
    assert [each.tolist() for each in halves] == [[1, 2], [0, 3]]


def test_smallest_lets_no_gradient_through():
    losses = torch.tensor([1.0, 2.0], requires_grad=True)
    assert not any(each.requires_grad for each in smallest(losses, 1))


class TestSmallestShare:
    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(st.integers(1, 40), st.floats(0.01, 1), st.integers(0, 2**16))
    def test_is_the_start_of_the_sorted_losses(self, count, share, seed):
        random = torch.Generator().manual_seed(seed)
        losses, among = torch.rand(count, generator=random), torch.rand(count, generator=random) < 0.7
        chosen = smallest_share(losses, among, share)
        ordered = losses[among].sort().values
        assert not chosen[~among].any()
        assert torch.equal(losses[chosen].sort().values, ordered[: max(round(share * len(ordered)), 1)])

    def test_equal_losses_stand_or_fall_together(self):
        assert smallest_share(torch.tensor([1.0, 2, 1, 3]), torch.ones(4, dtype=torch.bool), 0.25).sum() == 2

    def test_nothing_to_choose_from(self):
        assert not smallest_share(torch.rand(2, 3), torch.zeros(2, 3, dtype=torch.bool), 0.5).any()

    def test_more_voxels_than_a_quantile_can_take(self):
        losses = torch.arange(2**24 + 8, 0, -1, dtype=torch.float32)
        chosen = smallest_share(losses, torch.ones_like(losses, dtype=torch.bool), 0.5)
        assert chosen.sum() == pytest.approx(2**23 + 4, abs=2)
        assert chosen[-1]
        assert not chosen[0]


class TestScopes:
    LOSSES = torch.tensor([[0.1, 0.9, 0.4, 0.3], [0.8, 0.2, 0.7, 0.6]])
    LABEL = torch.tensor([[0, 0, 1, 1], [0, 0, 1, IGNORE]])

    def chosen(self, scope: str, *shares: float) -> list[list[int]]:
        among = self.LABEL != IGNORE
        return small_loss_voxels(self.LOSSES, self.LABEL, shares, scope=scope, among=among).int().tolist()

    def test_all_voxels_compete(self):
        assert self.chosen("pixel", 4 / 7) == [[1, 0, 1, 1], [0, 1, 0, 0]]

    def test_voxels_of_a_class_compete(self):
        assert self.chosen("class", 0.4) == [[1, 0, 0, 1], [0, 1, 0, 0]]
        assert self.chosen("class", 0.25, 1.0) == [[1, 0, 1, 1], [0, 0, 1, 0]]

    def test_samples_compete_by_their_mean(self):
        # 0.425 against (0.8 + 0.2 + 0.7) / 3.
        assert self.chosen("image", 0.5) == [[1, 1, 1, 1], [0, 0, 0, 0]]
        assert self.chosen("image", 1.0) == [[1, 1, 1, 1], [1, 1, 1, 0]]

    def test_a_sample_without_a_voxel_that_counts_does_not_compete(self):
        among = torch.tensor([[False] * 4, [True] * 4, [True] * 4])
        losses = torch.tensor([[0.0] * 4, [1.0] * 4, [2.0] * 4])
        chosen = small_loss_voxels(losses, torch.zeros_like(losses).long(), [0.5], scope="image", among=among)
        assert chosen.any(1).tolist() == [False, True, False]

    @pytest.mark.parametrize("scope", ["pixel", "class", "image"])
    def test_of_nothing_nothing_is_chosen(self, scope):
        nothing = torch.zeros_like(self.LABEL, dtype=torch.bool)
        assert not small_loss_voxels(self.LOSSES, self.LABEL, [0.5], scope=scope, among=nothing).any()


def normal(count: int, mean: float, sd: float, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).normal(mean, sd, count)).float()


LOW, HIGH = normal(60, 0.15, 0.03), normal(40, 0.70, 0.10, seed=1)


def test_two_kinds_of_losses_are_separated():
    assert low_losses(torch.cat([LOW, HIGH])).tolist() == [True] * 60 + [False] * 40


def test_the_order_of_the_losses_does_not_matter():
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    losses = torch.cat([LOW, HIGH])[order]
    assert low_losses(losses).equal(losses < 0.4)


@pytest.mark.parametrize("count", [20, 100, 1000])
def test_one_kind_of_losses_is_all_low(count):
    assert low_losses(normal(count, 0.3, 0.08)).all()


@pytest.mark.parametrize("losses", [[], [0.4], [0.4] * 50, [0.0] * 50, [0.4, 0.41] * 50, [0.1] * 4 + [0.9] * 4])
def test_too_few_or_too_similar_losses_are_all_low(losses):
    assert low_losses(torch.tensor(losses)).all()


def test_ten_losses_are_enough():
    few = torch.tensor([0.10, 0.11, 0.12, 0.13, 0.14, 0.9, 0.91, 0.92, 0.93, 0.94])
    assert low_losses(few).equal(few < 0.5)
    assert low_losses(few[:9]).all()


def test_kinds_whose_means_are_nearer_than_a_twentieth_are_one():
    near = torch.cat([normal(100, 0.10, 0.002), normal(100, 0.14, 0.002, seed=1)])
    assert low_losses(near).all()
    apart = torch.cat([normal(100, 0.10, 0.002), normal(100, 0.16, 0.002, seed=1)])
    assert low_losses(apart).equal(apart < 0.13)


def test_full_agreement_is_low_and_no_component_by_itself():
    losses = torch.cat([torch.zeros(200), LOW, HIGH])
    assert low_losses(losses).tolist() == [True] * 260 + [False] * 40


def test_a_wide_high_component_does_not_claim_what_lies_below_a_narrow_low_one():
    losses = torch.cat([normal(80, 0.40, 0.005), normal(40, 0.70, 0.15, seed=1), torch.tensor([0.05, 0.1])])
    assert low_losses(losses)[-2:].all()


def test_a_wide_low_component_does_not_claim_what_lies_above_a_narrow_high_one():
    losses = torch.cat([normal(60, 0.40, 0.12), normal(80, 0.70, 0.005, seed=1), torch.tensor([0.95, 0.99])])
    assert not low_losses(losses)[-2:].any()


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 60))
def test_low_is_all_up_to_a_certain_loss(seed, few, many):
    random = np.random.default_rng(seed)
    centres, widths = random.uniform(0, 1, 2), random.uniform(0.001, 0.3, 2)
    losses = np.concatenate([random.normal(centres[0], widths[0], few), random.normal(centres[1], widths[1], many)])
    losses = torch.from_numpy(losses.clip(0, 1))
    low = low_losses(losses)
    assert low.any()
    assert low[losses <= losses[low].max()].all()


class TestLowLossChances:
    def test_fall_from_certain_to_none_between_the_means(self):
        losses = torch.cat([LOW, HIGH, torch.tensor([0.0])])
        chances = low_loss_chances(losses)
        assert (chances[losses <= LOW.mean() - 0.02] == 1).all()
        assert (chances[losses >= HIGH.mean() + 0.02] == 0).all()
        assert (chances[losses.argsort()].diff() <= 0).all()
        assert torch.equal(chances > 0.5, low_losses(losses))

    def test_in_between_they_are_posterior_probabilities(self):
        overlapping = torch.cat([normal(2000, 0.4, 0.05), normal(2000, 0.6, 0.05, seed=1)])
        chances = low_loss_chances(overlapping)
        for loss in (0.46, 0.5, 0.53):
            ratio = torch.tensor([((loss - 0.6) ** 2 - (loss - 0.4) ** 2) / (2 * 0.05**2)]).sigmoid()
            nearest = (overlapping - loss).abs().argmin()
            assert chances[nearest].item() == pytest.approx(ratio.item(), abs=0.1)

    def test_of_one_kind_are_certain(self):
        assert (low_loss_chances(normal(100, 0.3, 0.08)) == 1).all()


class TestHardVoxels:
    def test_are_below_the_threshold(self):
        probabilities, among = torch.tensor([0.1, 0.69, 0.7, 0.9, 0.2]), torch.tensor([True, True, True, True, False])
        assert hard_voxels(probabilities, among).tolist() == [True, True, False, False, False]

    def test_are_a_few_at_least(self):
        probabilities = torch.linspace(0.8, 1.0, 32)
        assert hard_voxels(probabilities, torch.ones(32, dtype=torch.bool)).nonzero().flatten().tolist() == [0, 1]

    def test_of_none_are_none(self):
        assert not hard_voxels(torch.rand(4), torch.zeros(4, dtype=torch.bool)).any()
