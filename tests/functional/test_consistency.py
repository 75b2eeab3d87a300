from __future__ import annotations

import torch
from torch.testing import assert_close

from segmend.functional.consistency import squared_difference


def test_by_hand():
    first = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])  # two classes, two voxels
    second = torch.tensor([[[0.0, 0.0], [3.0, 2.0]]])
    assert_close(squared_difference(first, second), torch.tensor([[5.0, 0.0]]))


def test_pulls_its_arguments_towards_each_other():
    first, second = torch.ones(1, 4, 2, 2, requires_grad=True), torch.zeros(1, 4, 2, 2, requires_grad=True)
    squared_difference(first, second).sum().backward()
    assert_close(first.grad, torch.full((1, 4, 2, 2), 0.5))
    assert_close(second.grad, -first.grad)
