"""The U-Net whose depth, kernels and strides a plan chooses axis by axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import UnetBasicBlock, UnetOutBlock, UnetResBlock, UnetUpBlock
from torch import Tensor, nn

from segmend.core.errors import InputError
from segmend.networks._base import Network

_NORM = ("INSTANCE", {"affine": True})
_ACTIVATION = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})


class PlannedUNet(Network):
    """U-Net with instance norm, leaky ReLU, strided convolutions and transposed upsampling, axis by axis.

    The architecture that Isensee et al. (nnU-Net, Nature Methods 2021) adapt to each data set, made of the blocks of
    MONAI's DynUNet. A stage halves only the axes along which it is worth it, and its kernels span only the axes that
    are sampled finely enough, so that thick slices are neither halved away nor mixed too early. ``engine.planner``
    chooses both from the data. Unlike DynUNet it names its stages, so that methods can tap and share them.

    Sides of the image must be multiples of the product of the strides along each axis.

    Args:
        in_channels: image channels.
        classes: number of classes, background included.
        dimensions: 2 or 3.
        kernels: side of the convolutions along each axis, for each stage; one number stands for all axes.
        strides: by how much each stage reduces each axis; the first keeps the size.
        widths: channels of each stage; by default 32, doubled stage by stage up to 320 (3D) or 512 (2D).
        residual: add each encoder block's input to its output.

    Raises:
        InputError: fewer than two stages, or lists of different lengths.
    """

    decoder_scales: tuple[str, ...] = ("decoder.2", "decoder.1", "decoder.0")
    encoder_stages: tuple[str, ...] = ("encoder",)

    def __init__(
        self,
        in_channels: int,
        classes: int,
        dimensions: int = 3,
        *,
        kernels: Sequence[Sequence[int] | int] = (3, 3, 3, 3, 3),
        strides: Sequence[Sequence[int] | int] = (1, 2, 2, 2, 2),
        widths: Sequence[int] | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        widest = 320 if dimensions == 3 else 512
        channels = list(widths or [min(32 * 2**stage, widest) for stage in range(len(strides))])
        if not 2 <= len(kernels) == len(strides) == len(channels):
            raise InputError(
                "network PlannedUNet",
                f"must have two stages or more, with kernels, strides and widths for each, got {len(kernels)}, "
                f"{len(strides)} and {len(channels)}",
                "give lists of one length",
                code="invalid-value",
            )
        block = UnetResBlock if residual else UnetBasicBlock
        options = {"norm_name": _NORM, "act_name": _ACTIVATION}
        self.encoder = nn.ModuleList(
            block(dimensions, above, here, _sides(kernel, dimensions), _sides(stride, dimensions), **options)
            for (above, here), kernel, stride in zip(pairwise([in_channels, *channels]), kernels, strides, strict=True)
        )
        # The finest stage comes first here too, so that stages of one number meet.
        self.decoder = nn.ModuleList(
            UnetUpBlock(
                dimensions,
                below,
                here,
                _sides(kernel, dimensions),
                _sides(stride, dimensions),
                _sides(stride, dimensions),
                **options,
            )
            for (here, below), kernel, stride in zip(pairwise(channels), kernels[1:], strides[1:], strict=True)
        )
        self.head = UnetOutBlock(dimensions, channels[0], classes)
        self.decoder_scales = tuple(f"decoder.{stage}" for stage in reversed(range(min(3, len(self.decoder)))))
        self.apply(_initialise)

    @property
    def supervised_scales(self) -> tuple[str, ...]:
        """All stages of the decoder but the finest and, where more than two are there, the coarsest.

        At the coarsest, objects are a few voxels large: nnU-Net gives it no weight either.
        """
        stages = len(self.decoder)
        return tuple(f"decoder.{stage}" for stage in reversed(range(1, max(2, stages - 1)) if stages > 1 else ()))

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes, *spatial]`` of an image ``[B, in_channels, *spatial]``."""
        features = []
        for stage in self.encoder:
            image = stage(image)
            features.append(image)
        image = features.pop()
        for stage in reversed(self.decoder):
            image = stage(image, features.pop())
        logits: Tensor = self.head(image)
        return logits


def _sides(side: Sequence[int] | int, dimensions: int) -> list[int]:
    return [side] * dimensions if isinstance(side, int) else list(side)


def _initialise(module: nn.Module) -> None:
    """Draw weights for leaky ReLU (He et al., ICCV 2015)."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            with torch.no_grad():
                module.bias.zero_()
