"""The upward half of a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segmend.networks.blocks import conv_blocks, convolution


class UNetDecoder(nn.Module):
    """At each scale linear upsampling and a convolution, concatenation with encoder features, and two convolutions.

    Args:
        widths: channels of the encoder's features, from fine to coarse.
        classes: number of classes, background included.
        dimensions: 2 or 3.

    Attributes:
        stages: the two convolutions at each resolution, from fine to coarse.
    """

    def __init__(self, widths: Sequence[int], classes: int, dimensions: int) -> None:
        super().__init__()
        self.upward = nn.ModuleList(conv_blocks(below, here, 1, dimensions) for here, below in pairwise(widths))
        self.stages = nn.ModuleList(conv_blocks(2 * here, here, 2, dimensions) for here in widths[:-1])
        self.head = convolution(widths[0], classes, 1, dimensions)
        self.mode = {2: "bilinear", 3: "trilinear"}[dimensions]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits ``[B, classes, *spatial]`` of the encoder's features, each half the size of the one before."""
        *skips, x = features
        for upward, stage in zip(reversed(self.upward), reversed(self.stages), strict=True):
            x = upward(F.interpolate(x, scale_factor=2.0, mode=self.mode, align_corners=True))
            x = stage(torch.cat([skips.pop(), x], dim=1))
        logits: Tensor = self.head(x)
        return logits

    def last_scales(self, name: str) -> tuple[str, ...]:
        """Names of the last stages, three at most, from coarse to fine, where the decoder itself goes by ``name``."""
        return tuple(f"{name}.stages.{stage}" for stage in reversed(range(min(3, len(self.stages)))))
