"""A network that scores labels from the labels and their images."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from segmend.functional.soft_labels import one_hot
from segmend.networks import Network
from segmend.networks.blocks import conv_blocks, max_pool

_CONVOLUTIONS = (2, 2, 3, 3, 3)
_WIDENING = (1, 2, 4, 8, 8)


class QualityNetwork(nn.Module):
    """The thirteen convolutions of VGG16 with batch norm on image and label; the mean of all features is the score.

    The label enters as one channel for each class but the background. Since the last layer is a ReLU, scores are
    never negative.

    Args:
        in_channels: image channels.
        classes: number of classes, background included.
        dimensions: 2 or 3.
        width: channels of the first stage; VGG16 has 64.
    """

    def __init__(self, in_channels: int, classes: int, dimensions: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        widths = [in_channels + classes - 1, *[width * factor for factor in _WIDENING]]
        stages: list[nn.Module] = []
        for (above, here), count in zip(pairwise(widths), _CONVOLUTIONS, strict=True):
            stages += [conv_blocks(above, here, count, dimensions), max_pool(dimensions, round_up=True)]
        self.trunk = nn.Sequential(*stages)

    @classmethod
    def beside(cls, network: Network, width: int) -> Self:
        """Create one for the images and labels that a segmentation network is trained with."""
        given = network.arguments
        return cls(given["in_channels"], given["classes"], given["dimensions"], width)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """Scores ``[B]`` float32, >= 0, of labels ``[B, *spatial]`` and their images ``[B, channels, *spatial]``."""
        seen = torch.cat([image, one_hot(label, self.classes)[:, 1:]], dim=1)
        features: Tensor = self.trunk(seen)
        return features.float().flatten(1).mean(1)
