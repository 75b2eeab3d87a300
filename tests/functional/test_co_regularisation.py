from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.co_regularisation import joint_loss


def logs(p: list[float]) -> torch.Tensor:
    return torch.tensor([[1 - each, each] for each in p]).log().T.unsqueeze(0)


def test_by_hand():
    supervised, agreement = joint_loss(logs([0.9, 0.5]), logs([0.6, 0.5]), torch.tensor([[1, 0]]), 0.25)
    one_way, other_way = 0.226289, 0.311239
    assert_close(supervised, 0.75 * torch.tensor([[-math.log(0.9) - math.log(0.6), 2 * math.log(2)]]))
    assert_close(agreement, 0.25 * torch.tensor([[one_way + other_way, 0]]), atol=1e-5, rtol=0)


def test_unknown_labels_leave_only_the_disagreement():
    supervised, agreement = joint_loss(logs([0.9]), logs([0.6]), torch.tensor([[IGNORE]]), 0.5)
    assert supervised.item() == 0
    assert agreement.item() > 0


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_is_symmetric_on_any_grid(shape):
    first, second = torch.randn(2, 3, *shape), torch.randn(2, 3, *shape)
    label = torch.randint(0, 3, (2, *shape))
    one = joint_loss(first, second, label, 0.65)
    assert all(each.shape == (2, *shape) for each in one)
    assert_close(one, joint_loss(second, first, label, 0.65))


def test_pulls_at_both_networks_and_stays_finite_for_huge_logits():
    first, second = (sign * torch.tensor([[[1e4], [-1e4]]]) for sign in (1, -1))
    first.requires_grad_(), second.requires_grad_()
    torch.stack(joint_loss(first, second, torch.tensor([[1]]), 0.5)).sum().backward()
    assert all(each.grad.isfinite().all() and each.grad.any() for each in (first, second))
