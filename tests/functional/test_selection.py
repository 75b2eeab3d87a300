from __future__ import annotations

import pytest
import torch

from segmend.functional.selection import smallest


@pytest.mark.parametrize(
    ("losses", "count", "expected"),
    [
        ([0.1, 0.9, 0.2, 0.8], 2, [True, False, True, False]),
        ([0.7, 0.1, 0.6, 0.2], 2, [False, True, False, True]),
        ([1.0, 1.0, 1.0], 2, [True, True, False]),
        ([1.0, 2.0], 0, [False, False]),
        ([1.0, 2.0], 2, [True, True]),
    ],
)
def test_takes_exactly_the_smallest(losses, count, expected):
    assert smallest(torch.tensor(losses), count).tolist() == expected


def test_lets_no_gradient_through():
    losses = torch.tensor([1.0, 2.0], requires_grad=True)
    assert not smallest(losses, 1).requires_grad
