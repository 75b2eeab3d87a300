"""Networks whose outputs a test writes down, because they are the image or nearly so."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segmend.networks import Network


class ImageAsLogits(Network):
    """The logits are the image times a gain, the only parameter.

    Attributes:
        gain: a scalar.
        inputs: the images of all passes, oldest first.
    """

    def __init__(self, in_channels: int = 2, classes: int = 2, dimensions: int = 2, *, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.inputs: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.inputs.append(image)
        return self.gain * image


class ChannelsAsLogits(Network):
    """The logits are some channels of the image times a gain: those of group 0, or of another that a test chooses.

    So the image holds the logits of several networks that are copies of each other.

    Attributes:
        gain: a scalar, the only parameter.
        group: which of the groups of ``classes`` channels to read, from 0.
    """

    def __init__(self, in_channels: int = 4, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.classes, self.group = classes, 0

    def forward(self, image: Tensor) -> Tensor:
        return self.gain * image.split(self.classes, dim=1)[self.group]


class Logistic(Network):
    """The logit of the background is 0 and that of the object theta times the image.

    Attributes:
        theta: a scalar, the only parameter.
    """

    def __init__(self, in_channels: int = 1, classes: int = 2, dimensions: int = 2, *, theta: float = 0.0) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(image), self.theta * image], 1)


class Pointwise(Network):
    """A linear classifier of single voxels, after dropout if a rate is given."""

    def __init__(self, in_channels: int, classes: int, dimensions: int = 2, *, dropout_rate: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout_rate)
        self.head = (nn.Conv2d if dimensions == 2 else nn.Conv3d)(in_channels, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(image))
        return logits
