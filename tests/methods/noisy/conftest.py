from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.methods import Method, Step
from segmend.methods.components.ema import follow_students
from segmend.networks import Network

VOXELS, STEPS = 2000, 400


class Memorising(Network):
    """Can memorise each voxel, but sooner finds what most of them have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.common, self.own = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(1, 1, VOXELS))

    def forward(self, image: Tensor) -> Tensor:
        logit = 0.4 * self.common * image + self.own
        return torch.cat([-logit, logit], 1)


@pytest.fixture
def right_after_training() -> Callable[..., float]:
    """The fraction of voxels that a method gets right in the end, if a quarter of the labels is wrong."""
    random = torch.Generator().manual_seed(0)
    truth = torch.rand(1, VOXELS, generator=random) < 0.5
    label = (truth ^ (torch.rand(1, VOXELS, generator=random) < 0.25)).long()
    given = Batch(2 * truth[None].float() - 1, label, (Quality.NOISY,), ("only",))

    def trained(cls: type[Method], **arguments: object) -> float:
        method = cls(Memorising(), **arguments)
        parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
        optimiser = torch.optim.SGD(parameters, lr=8.0)
        for index in range(STEPS):
            optimiser.zero_grad()
            torch.stack(list(method.loss(given, Step(index, STEPS)).values())).sum().backward()
            optimiser.step()
            follow_students(method, index + 1)
        return (method.predict(given.image).argmax(1) == truth).float().mean().item()

    return trained
