"""The plain U-Net, and its upward half, which other networks share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from segmend.networks._base import Network, check_sizes
from segmend.networks.blocks import conv_blocks, convolution, linear_doubling, max_pool


class UNet(Network):
    """U-Net with two convolutions a stage, batch norm, max pooling and linear upsampling.

    Ronneberger et al., MICCAI 2015, with padded convolutions, batch norm, and interpolation followed by
    a convolution in place of the transposed convolution, as AIDE and most later work use it. Encoder
    features are concatenated to the decoder's. With 3 input channels, 2 classes, 2 dimensions and width
    64 it has 34,527,106 parameters, the count of AIDE's network.

    Sides of the image must be multiples of 2 to the power of ``stages - 1``.

    Args:
        in_channels: image channels.
        classes: number of classes, background included.
        dimensions: 2 or 3.
        width: channels of the first stage; every stage below doubles them.
        stages: number of resolutions.
    """

    decoder_scales: tuple[str, ...] = ("decoder.stages.2", "decoder.stages.1", "decoder.stages.0")
    encoder_stages = ("encoder",)

    def __init__(
        self, in_channels: int, classes: int, dimensions: int = 3, *, width: int = 32, stages: int = 5
    ) -> None:
        super().__init__()
        check_sizes(self, width, stages)
        widths = [width * 2**stage for stage in range(stages)]
        self.pool = max_pool(dimensions)
        self.encoder = nn.ModuleList(
            conv_blocks(above, here, 2, dimensions) for above, here in pairwise([in_channels, *widths])
        )
        self.decoder = UNetDecoder(widths, classes, dimensions)
        self.decoder_scales = self.decoder.last_scales("decoder")

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes, *spatial]`` of an image ``[B, in_channels, *spatial]``."""
        features = [self.encoder[0](image)]
        for stage in self.encoder[1:]:
            features.append(stage(self.pool(features[-1])))
        logits: Tensor = self.decoder(features)
        return logits


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
        self.enlarge = linear_doubling(dimensions)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits ``[B, classes, *spatial]`` of the encoder's features, each half the size of the one before."""
        *skips, x = features
        for upward, stage in zip(reversed(self.upward), reversed(self.stages), strict=True):
            x = upward(self.enlarge(x))
            x = stage(torch.cat([skips.pop(), x], dim=1))
        logits: Tensor = self.head(x)
        return logits

    def last_scales(self, name: str) -> tuple[str, ...]:
        """Names of the last stages, three at most, from coarse to fine, where the decoder itself goes by ``name``."""
        return tuple(f"{name}.stages.{stage}" for stage in reversed(range(min(3, len(self.stages)))))
