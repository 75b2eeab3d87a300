"""A network whose logits and signed distances a test writes down."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segmend.networks import Network

SEEN = [-0.002, -0.0005, 0.0, 0.001]
"""Signed distances of four voxels."""
LOGITS = [2.0, 0.0, -1.0, -3.0]
"""Logits of their object; those of the background are 0."""


class Transparent(Network):
    """The feature is the first channel, the logits are the others; both times a gain, the only parameter."""

    decoder_scales = ("feature",)

    def __init__(self, in_channels: int = 3, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.gain, self.feature = nn.Parameter(torch.ones(())), nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        self.feature(self.gain * image[:, :1])
        return self.gain * image[:, 1:]

    @staticmethod
    def open(part: nn.Module) -> None:
        """Make every convolution of a part the identity, so that distances are tanh of the first channel."""
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)


def transparent_image() -> Tensor:
    """``[1, 3, 1, 4]``, of which the network makes ``SEEN`` and ``LOGITS``."""
    first = torch.tensor(SEEN).atanh()
    return torch.stack([first, torch.zeros(4), torch.tensor(LOGITS)]).view(1, 3, 1, 4)
