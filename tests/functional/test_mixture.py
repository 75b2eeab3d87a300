from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from segmend.functional.mixture import low_loss_chances, low_losses


def normal(count: int, mean: float, sd: float, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).normal(mean, sd, count)).float()


LOW, HIGH = normal(60, 0.15, 0.03), normal(40, 0.70, 0.10, seed=1)


def test_two_kinds_are_told_apart():
    assert low_losses(torch.cat([LOW, HIGH])).tolist() == [True] * 60 + [False] * 40


def test_the_order_does_not_matter():
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    losses = torch.cat([LOW, HIGH])[order]
    assert low_losses(losses).equal(losses < 0.4)


@pytest.mark.parametrize("count", [20, 100, 1000])
def test_one_kind_is_all_low(count):
    assert low_losses(normal(count, 0.3, 0.08)).all()


@pytest.mark.parametrize("losses", [[], [0.4], [0.4] * 50, [0.0] * 50, [0.4, 0.41] * 50, [0.1] * 4 + [0.9] * 4])
def test_too_few_or_too_much_alike_are_all_low(losses):
    assert low_losses(torch.tensor(losses)).all()


def test_ten_are_enough():
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


class TestChances:
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
