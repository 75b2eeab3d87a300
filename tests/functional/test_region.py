from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from segmend.functional.region import squared_dice_loss


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
