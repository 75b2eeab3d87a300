"""The nested U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segmend.networks._base import Network, check_sizes
from segmend.networks.blocks import conv_blocks, convolution, linear_doubling, max_pool


class UNetPlusPlus(Network):
    """U-Net whose skips are chains of stages, each joined with the output of the resolution below.

    Zhou et al., DLMIA 2018, as MLB-Seg uses it: node (i, j) of resolution i takes all nodes before it in its row and
    the linearly upsampled node (i + 1, j - 1), and is two convolutions with batch norm. Only the last node of the first
    row is the output; there is no deep supervision. With 1 input channel, 2 dimensions and width 64 it has 36,628,481
    parameters for a single output map.

    Sides of the image must be multiples of 2 to the power of ``stages - 1``. MONAI's
    ``BasicUNetPlusPlus`` differs in its layers and widths.

    Args:
        in_channels: image channels.
        classes: number of classes, background included.
        dimensions: 2 or 3.
        width: channels of the first row; every row below doubles them.
        stages: number of resolutions.
    """

    decoder_scales: tuple[str, ...] = ("nodes.x2_2", "nodes.x1_3", "nodes.x0_4")
    encoder_stages: tuple[str, ...] = tuple(f"nodes.x{row}_0" for row in range(5))

    def __init__(
        self, in_channels: int, classes: int, dimensions: int = 3, *, width: int = 32, stages: int = 5
    ) -> None:
        super().__init__()
        check_sizes(self, width, stages)
        self.stages = stages
        self.pool = max_pool(dimensions)
        widths = [width * 2**row for row in range(stages)]
        self.nodes = nn.ModuleDict()
        for row, here in enumerate(widths):
            above = widths[row - 1] if row else in_channels
            self.nodes[f"x{row}_0"] = conv_blocks(above, here, 2, dimensions)
            for column in range(1, stages - row):
                self.nodes[f"x{row}_{column}"] = conv_blocks(column * here + widths[row + 1], here, 2, dimensions)
        self.head = convolution(width, classes, 1, dimensions)
        self.enlarge = linear_doubling(dimensions)
        self.encoder_stages = tuple(f"nodes.x{row}_0" for row in range(stages))
        self.decoder_scales = tuple(f"nodes.x{row}_{stages - 1 - row}" for row in reversed(range(min(3, stages - 1))))

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes, *spatial]`` of an image ``[B, in_channels, *spatial]``."""
        rows: list[list[Tensor]] = []
        for depth in range(self.stages):
            rows.append([self.nodes[f"x{depth}_0"](self.pool(rows[-1][0]) if rows else image)])
            # Each new resolution allows one more node in every row above it.
            for row in reversed(range(depth)):
                below = self.enlarge(rows[row + 1][-1])
                rows[row].append(self.nodes[f"x{row}_{depth - row}"](torch.cat([*rows[row], below], dim=1)))
        logits: Tensor = self.head(rows[0][-1])
        return logits
