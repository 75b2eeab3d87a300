"""The plain U-Net."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segmend.networks._base import Network
from segmend.networks.blocks import conv_blocks, convolution, max_pool


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

    decoder_scales: tuple[str, ...] = ("decoder.2", "decoder.1", "decoder.0")

    def __init__(
        self, in_channels: int, classes: int, dimensions: int = 3, *, width: int = 32, stages: int = 5
    ) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(stages)]
        self.pool = max_pool(dimensions)
        self.encoder = nn.ModuleList(
            conv_blocks(above, here, 2, dimensions) for above, here in pairwise([in_channels, *widths])
        )
        self.upward = nn.ModuleList(conv_blocks(below, here, 1, dimensions) for here, below in pairwise(widths))
        self.decoder = nn.ModuleList(conv_blocks(2 * here, here, 2, dimensions) for here in widths[:-1])
        self.head = convolution(width, classes, 1, dimensions)
        self.mode = {2: "bilinear", 3: "trilinear"}[dimensions]
        self.decoder_scales = tuple(f"decoder.{stage}" for stage in reversed(range(min(3, stages - 1))))

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes, *spatial]`` of an image ``[B, in_channels, *spatial]``."""
        skips = [self.encoder[0](image)]
        for stage in self.encoder[1:]:
            skips.append(stage(self.pool(skips[-1])))
        x = skips.pop()
        for upward, stage in zip(reversed(self.upward), reversed(self.decoder), strict=True):
            x = upward(F.interpolate(x, scale_factor=2.0, mode=self.mode, align_corners=True))
            x = stage(torch.cat([skips.pop(), x], dim=1))
        logits: Tensor = self.head(x)
        return logits
