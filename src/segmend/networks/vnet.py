"""The V-Net that the left-atrium literature compares on."""

from __future__ import annotations

from torch import Tensor, nn

from segmend.networks._base import Network, check_sizes
from segmend.networks.blocks import channel_dropout, conv_blocks, convolution, doubling, halving


class VNet(Network):
    """V-Net as used by UA-MT, MTCL, PLIL and ALC: five stages, added skips, batch norm, dropout.

    Not the residual network of Milletari et al., 3DV 2016: there is no skip inside a stage, and the
    decoder *adds* the encoder's features instead of concatenating them. Stages ``x1`` to ``x9`` are
    chains of 3-voxel convolutions with batch norm and ReLU; strided (transposed) 2-voxel convolutions
    join them. Whole channels are dropped after the bottom and the last stage. With one input channel,
    two classes and three dimensions it has 9,448,866 parameters.

    Sides of the image must be multiples of 16.

    Args:
        in_channels: image channels.
        classes: number of classes, background included.
        dimensions: 2 or 3.
        width: channels of the first stage; every stage below doubles them.
        dropout_rate: probability that a channel of the bottom and of the last stage is dropped.
    """

    decoder_scales = ("x7", "x8", "x9")
    encoder_stages = ("x1", "x2", "x3", "x4", "x5")

    def __init__(
        self, in_channels: int, classes: int, dimensions: int = 3, *, width: int = 16, dropout_rate: float = 0.5
    ) -> None:
        super().__init__()
        check_sizes(self, width)
        w, d = width, dimensions
        self.x1 = conv_blocks(in_channels, w, 1, d)
        self.x2 = nn.Sequential(halving(w, 2 * w, d), conv_blocks(2 * w, 2 * w, 2, d))
        self.x3 = nn.Sequential(halving(2 * w, 4 * w, d), conv_blocks(4 * w, 4 * w, 3, d))
        self.x4 = nn.Sequential(halving(4 * w, 8 * w, d), conv_blocks(8 * w, 8 * w, 3, d))
        self.x5 = nn.Sequential(halving(8 * w, 16 * w, d), conv_blocks(16 * w, 16 * w, 3, d))
        self.bottom_dropout = channel_dropout(dropout_rate, d)
        self.up5 = doubling(16 * w, 8 * w, d)
        self.x6 = conv_blocks(8 * w, 8 * w, 3, d)
        self.up6 = doubling(8 * w, 4 * w, d)
        self.x7 = conv_blocks(4 * w, 4 * w, 3, d)
        self.up7 = doubling(4 * w, 2 * w, d)
        self.x8 = conv_blocks(2 * w, 2 * w, 2, d)
        self.up8 = doubling(2 * w, w, d)
        self.x9 = nn.Sequential(conv_blocks(w, w, 1, d), channel_dropout(dropout_rate, d))
        self.head = convolution(w, classes, 1, d)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes, *spatial]`` of an image ``[B, in_channels, *spatial]``."""
        return self._decode(self._encode(image))

    def stochastic_passes(self, image: Tensor, passes: int) -> Tensor:
        """As in the base class; nothing is random above the bottom, so the encoder runs only once."""
        return self._decode([stage.repeat(passes, *[1] * (stage.ndim - 1)) for stage in self._encode(image)])

    def _encode(self, image: Tensor) -> list[Tensor]:
        stages = [image]
        for stage in (self.x1, self.x2, self.x3, self.x4, self.x5):
            stages.append(stage(stages[-1]))
        return stages[1:]

    def _decode(self, stages: list[Tensor]) -> Tensor:
        x1, x2, x3, x4, x5 = stages
        x6 = self.x6(self.up5(self.bottom_dropout(x5)) + x4)
        x7 = self.x7(self.up6(x6) + x3)
        x8 = self.x8(self.up7(x7) + x2)
        x9 = self.x9(self.up8(x8) + x1)
        logits: Tensor = self.head(x9)
        return logits
