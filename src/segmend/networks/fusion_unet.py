"""The U-Net with an encoder for each of two modalities."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from segmend.core.errors import InputError
from segmend.networks._base import Network, check_sizes
from segmend.networks.blocks import conv_blocks, max_pool
from segmend.networks.unet import UNetDecoder


class FusionUNet(Network):
    """U-Net with two encoders, whose features are concatenated at every resolution.

    AIDE's network for two inputs (Wang et al., Nature Communications 2021), such as the in-phase and the out-of-phase
    image. The first half of the image's channels goes to the first encoder, the second half to the second. At each
    resolution the outputs of both are concatenated; this is the skip connection and the input of the first encoder's
    next stage, while the second encoder receives its own features only. The decoder is that of ``UNet`` with twice the
    width. With 6 input channels (each input three times, as there), 2 classes and 2 dimensions it has 26,675,074
    parameters.

    Sides of the image must be multiples of 2 to the power of ``stages - 1``.

    Args:
        in_channels: image channels, an even number.
        classes: number of classes, background included.
        dimensions: 2 or 3.
        width: channels of each encoder's first stage; every stage below doubles them.
        stages: number of resolutions.

    Raises:
        InputError: the number of channels is odd.
    """

    decoder_scales: tuple[str, ...] = ("decoder.stages.2", "decoder.stages.1", "decoder.stages.0")
    encoder_stages = ("encoder", "second_encoder")

    def __init__(
        self, in_channels: int, classes: int, dimensions: int = 3, *, width: int = 32, stages: int = 5
    ) -> None:
        super().__init__()
        check_sizes(self, width, stages)
        if in_channels % 2:
            raise InputError(
                "network FusionUNet",
                f"splits the channels of an image between two encoders, but there are {in_channels}",
                "use it for an even number of channels, or take `network UNet`",
                code="mismatch",
            )
        own = [width * 2**stage for stage in range(stages)]
        fused = [2 * channels for channels in own]
        self.pool = max_pool(dimensions)
        self.encoder = nn.ModuleList(
            conv_blocks(above, here, 2, dimensions)
            for above, here in zip([in_channels // 2, *fused[:-1]], own, strict=True)
        )
        self.second_encoder = nn.ModuleList(
            conv_blocks(above, here, 2, dimensions) for above, here in pairwise([in_channels // 2, *own])
        )
        self.decoder = UNetDecoder(fused, classes, dimensions)
        self.decoder_scales = self.decoder.last_scales("decoder")

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes, *spatial]`` of an image ``[B, in_channels, *spatial]``."""
        first, second = image.chunk(2, dim=1)
        fused: list[Tensor] = []
        for stage, second_stage in zip(self.encoder, self.second_encoder, strict=True):
            if fused:
                first, second = self.pool(fused[-1]), self.pool(second)
            second = second_stage(second)
            fused.append(torch.cat([stage(first), second], dim=1))
        logits: Tensor = self.decoder(fused)
        return logits
