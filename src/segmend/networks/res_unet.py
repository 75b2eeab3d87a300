"""The residual U-Net of deep self-cleansing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segmend.networks._base import Network, check_sizes
from segmend.networks.blocks import conv_blocks, convolution, doubling, halving


class ResUNet(Network):
    """U-Net with residual blocks, three halvings and three doublings, as in deep self-cleansing.

    Dong et al., arXiv 2409.05024, Table 1. Blocks ``res1`` to ``res6`` are one to three 3-voxel convolutions with batch
    norm and ReLU whose output is added to their input: the strided (or transposed) 2-voxel convolution before them,
    with the encoder's features concatenated in the decoder. The rows of the printed table are shifted against its
    sizes; this interpretation makes all of them agree.

    The head is a 3-voxel and a 1-voxel convolution with nothing between them. In the paper it goes from
    two channels to the one of a sigmoid, here from ``2 * classes`` to ``classes``: with one input channel,
    one class and two dimensions that is the paper's network, with 1,004,085 parameters.

    Sides of the image must be multiples of 8.

    Args:
        in_channels: image channels.
        classes: number of classes, background included.
        dimensions: 2 or 3.
        width: channels of the first convolution; every stage below doubles them.
    """

    decoder_scales = ("res4", "res5", "res6")

    def __init__(self, in_channels: int, classes: int, dimensions: int = 3, *, width: int = 16) -> None:
        super().__init__()
        check_sizes(self, width)
        w, d = width, dimensions
        self.first = conv_blocks(in_channels, w, 1, d)
        self.down1, self.res1 = halving(w, 2 * w, d), _Residual(2 * w, 1, d)
        self.down2, self.res2 = halving(2 * w, 4 * w, d), _Residual(4 * w, 2, d)
        self.down3, self.res3 = halving(4 * w, 8 * w, d), _Residual(8 * w, 2, d)
        self.up4, self.res4 = doubling(8 * w, 4 * w, d), _Residual(8 * w, 3, d)
        self.up5, self.res5 = doubling(8 * w, 2 * w, d), _Residual(4 * w, 2, d)
        self.up6, self.res6 = doubling(4 * w, w, d), _Residual(2 * w, 1, d)
        self.head = nn.Sequential(convolution(2 * w, 2 * classes, 3, d), convolution(2 * classes, classes, 1, d))

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes, *spatial]`` of an image ``[B, in_channels, *spatial]``."""
        first = self.first(image)
        res1 = self.res1(self.down1(first))
        res2 = self.res2(self.down2(res1))
        res3 = self.res3(self.down3(res2))
        res4 = self.res4(torch.cat([self.up4(res3), res2], dim=1))
        res5 = self.res5(torch.cat([self.up5(res4), res1], dim=1))
        res6 = self.res6(torch.cat([self.up6(res5), first], dim=1))
        logits: Tensor = self.head(res6)
        return logits


class _Residual(nn.Module):
    """Convolutions that keep the number of channels, and a skip around them."""

    def __init__(self, channels: int, count: int, dimensions: int) -> None:
        super().__init__()
        self.blocks = conv_blocks(channels, channels, count, dimensions)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.blocks(x)
        return added
