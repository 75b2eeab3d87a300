from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.region import (
    dice_loss_by_sample,
    label_dice,
    noise_robust_dice_loss,
    squared_dice_loss,
)


def test_by_hand():
    probabilities = torch.tensor([[[0.7, 0.2, 0.0, 0.9], [0.3, 0.8, 0.0, 0.1]]])
    target = torch.tensor([[[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]]])
    # 1 - 3.2 / (0.49 + 0.04 + 0.81 + 2) and 1 - 1.6 / (0.09 + 0.64 + 0.01 + 1)
    expected = torch.tensor([1 - 3.2 / 3.34, 1 - 1.6 / 1.74])
    assert_close(squared_dice_loss(probabilities, target), expected, atol=1e-5, rtol=0)


def test_a_batch_is_one_region():
    probabilities = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    target = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])
    # Together 1 - 2 * 2 / (2 + 3); the mean of the two items would be (0 + 1) / 2.
    assert squared_dice_loss(probabilities, target).item() == pytest.approx(0.2, abs=1e-5)


def test_equal_soft_maps_cost_nothing():
    soft = torch.full((1, 2, 3, 3, 3), 0.3)
    assert_close(squared_dice_loss(soft, soft), torch.zeros(2))


def test_a_missing_class_predicted_missing_costs_nothing():
    empty = torch.zeros(1, 1, 4, 4)
    assert squared_dice_loss(empty, empty).item() == 0
    assert squared_dice_loss(empty + 1, empty).item() == pytest.approx(1, abs=1e-5)


def test_smoothing_is_added_above_and_below_the_line():
    zero, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    assert squared_dice_loss(one, zero, smooth=1.0).item() == 0.5


@given(st.integers(0, 2**32), st.integers(2, 3))
def test_lies_between_0_and_1_whatever_the_order_of_the_voxels(seed, dimensions):
    random = torch.Generator().manual_seed(seed)
    shape = (2, 3, *[3] * dimensions)
    probabilities, target = torch.rand(shape, generator=random), torch.rand(shape, generator=random).round()
    loss = squared_dice_loss(probabilities, target)
    assert loss.shape == (3,)
    assert ((loss >= 0) & (loss <= 1)).all()
    order = torch.randperm(3**dimensions, generator=random)
    shuffled = squared_dice_loss(probabilities.flatten(2)[:, :, order], target.flatten(2)[:, :, order])
    assert_close(shuffled, loss)


class TestNoiseRobustDiceLoss:
    PROBABILITIES, TARGET = torch.tensor([[[0.8, 0.2]]]), torch.tensor([[[1.0, 0.0]]])

    @pytest.mark.parametrize(("gamma", "loss"), [(1.0, 0.4 / 1.68), (1.5, 0.1065), (2.0, 0.0476)])
    def test_by_hand(self, gamma, loss):
        assert noise_robust_dice_loss(self.PROBABILITIES, self.TARGET, gamma).item() == pytest.approx(loss, abs=5e-5)

    def test_with_squares_it_is_the_squared_dice_loss(self):
        random = torch.Generator().manual_seed(0)
        probabilities, target = torch.rand(2, 2, 3, 4, 5, generator=random)
        expected = squared_dice_loss(probabilities, target, smooth=0.0)
        assert_close(noise_robust_dice_loss(probabilities, target, 2.0, smooth=0.0), expected)

    def test_of_what_is_equal_is_nothing_and_has_a_gradient(self):
        probabilities = torch.tensor([[[0.5, 1.0], [0.0, 0.0]]], requires_grad=True)
        for gamma in (1.0, 1.5, 2.0):
            loss = noise_robust_dice_loss(probabilities, probabilities.detach(), gamma)
            assert loss.tolist() == [0, 0]
            (gradient,) = torch.autograd.grad(loss.sum(), probabilities)
            assert gradient.isfinite().all()


class TestDiceLossBySample:
    def test_by_hand(self):
        probabilities = torch.tensor([[[0.1, 0.2, 0.7, 0.9], [0.9, 0.8, 0.3, 0.1]]])
        target = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]]])
        # 1 - (2 * 1.6 + 1) / (1.9 + 2 + 1) and 1 - (2 * 1.7 + 1) / (2.1 + 2 + 1)
        assert_close(dice_loss_by_sample(probabilities, target), torch.tensor([[0.142857, 0.137255]]))

    def test_samples_are_regions_of_their_own(self):
        random = torch.Generator().manual_seed(0)
        probabilities, target = torch.rand(2, 3, 2, 4, 5, generator=random)
        together = dice_loss_by_sample(probabilities, target, smooth=0.5)
        alone = [dice_loss_by_sample(probabilities[[row]], target[[row]], smooth=0.5)[0] for row in range(3)]
        assert_close(together, torch.stack(alone))

    def test_a_missing_class_predicted_missing_costs_nothing(self):
        assert dice_loss_by_sample(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4)).tolist() == [[0], [0]]


class TestLabelDice:
    @pytest.mark.parametrize(
        ("prediction", "reference", "dice"),
        [
            ([1, 1, 0, 0], [1, 0, 0, 0], 2 / 3),
            ([1, 1, 2, 0], [1, 0, 2, 2], 2 / 3),
            ([1, 0, 0, 0], [0, 2, 0, 0], 0),
            ([1, 0, 3, 0], [1, 0, 0, 0], 0.5),  # a class that nobody drew
            ([0, 0, 0, 0], [0, 0, 0, 0], 1),
            ([0, 0, 0, 0], [0, 1, 0, 0], 0),
            ([1, 1, 1, 2], [1, 0, IGNORE, IGNORE], 2 / 3),
            ([1, 2, 1, 2], [IGNORE] * 4, 1),
        ],
    )
    def test_by_hand(self, prediction, reference, dice):
        labels = [torch.tensor([values], dtype=torch.uint8) for values in (prediction, reference)]
        assert label_dice(*labels) == pytest.approx(dice)
