from __future__ import annotations

import pytest
import torch
from refusals import raises

from segmend.methods.components.small_loss import SmallLossSelection
from segmend.networks import UNet

LOSSES = torch.arange(10.0).view(2, 5)
LABEL = torch.tensor([[0, 0, 0, 0, 1], [1, 1, 0, 1, 0]])
EVERYWHERE = torch.ones(2, 5, dtype=torch.bool)


def selection(**arguments) -> SmallLossSelection:
    usual = {"noise_rate": 0.4, "ramp_length": 0.5, "exponent": 1.0, "scope": "pixel"}
    return SmallLossSelection(UNet(1, 2, 2, width=2, stages=1), **(usual | arguments))


@pytest.mark.parametrize(("progress", "count"), [(0.0, 10), (0.25, 8), (0.5, 6), (1.0, 6)])
def test_believes_less_and_less(progress, count):
    chosen = selection().select(LOSSES, LABEL, EVERYWHERE, progress)
    assert chosen.flatten().tolist() == [True] * count + [False] * (10 - count)


def test_exponent_slows_the_start():
    assert selection(exponent=2.0).select(LOSSES, LABEL, EVERYWHERE, 0.25).sum() == 9


def test_classes_may_have_rates_of_their_own():
    chosen = selection(noise_rate=[0.0, 0.5], scope="class").select(LOSSES, LABEL, EVERYWHERE, 1.0)
    assert chosen[LABEL == 0].all()
    assert chosen[LABEL == 1].tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ({"noise_rate": 1.0}, "invalid-value", "1.0"),
        ({"noise_rate": [0.1, -0.1], "scope": "class"}, "invalid-value", "-0.1"),
        ({"noise_rate": [0.1, 0.2]}, "mismatch", "2 values, for 2 classes and scope pixel"),
        ({"noise_rate": [0.1, 0.2, 0.3], "scope": "class"}, "mismatch", "3 values, for 2 classes"),
        ({"noise_rate": [], "scope": "class"}, "mismatch", "0 values"),
    ],
)
def test_refuses_rates_that_say_nothing(arguments, code, message):
    with raises(code, "method.noise_rate", match=message):
        selection(**arguments)
