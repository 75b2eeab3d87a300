"""Layers in two and three dimensions under one name, and the blocks that the networks are built from."""

from __future__ import annotations

from torch import nn

_CONVOLUTION: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_DROPOUT: dict[int, type[nn.Module]] = {2: nn.Dropout2d, 3: nn.Dropout3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}
_MAX_POOL: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


def convolution(in_channels: int, out_channels: int, kernel: int, dimensions: int) -> nn.Module:
    """A convolution that keeps the size of its input (odd kernels)."""
    return _CONVOLUTION[dimensions](in_channels, out_channels, kernel, padding=kernel // 2)


def conv_blocks(in_channels: int, out_channels: int, count: int, dimensions: int) -> nn.Sequential:
    """``count`` times 3-voxel convolution, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for channels in [in_channels, *[out_channels] * (count - 1)]:
        layers += [convolution(channels, out_channels, 3, dimensions), *_norm_relu(out_channels, dimensions)]
    return nn.Sequential(*layers)


def halving(in_channels: int, out_channels: int, dimensions: int) -> nn.Sequential:
    """A strided 2-voxel convolution, batch norm, ReLU: half the size."""
    strided = _CONVOLUTION[dimensions](in_channels, out_channels, 2, stride=2)
    return nn.Sequential(strided, *_norm_relu(out_channels, dimensions))


def wide_halving(in_channels: int, out_channels: int, dimensions: int) -> nn.Module:
    """A strided 4-voxel convolution alone: half the size, as critics use it."""
    return _CONVOLUTION[dimensions](in_channels, out_channels, 4, stride=2, padding=1)


def doubling(in_channels: int, out_channels: int, dimensions: int) -> nn.Sequential:
    """A transposed 2-voxel convolution, batch norm, ReLU: twice the size."""
    transposed = _TRANSPOSED[dimensions](in_channels, out_channels, 2, stride=2)
    return nn.Sequential(transposed, *_norm_relu(out_channels, dimensions))


def linear_doubling(dimensions: int) -> nn.Module:
    """Twice the size by linear interpolation with corners aligned; a module, so that methods can replace it."""
    return nn.Upsample(scale_factor=2.0, mode=_LINEAR[dimensions], align_corners=True)


def channel_dropout(rate: float, dimensions: int) -> nn.Module:
    """Dropout of whole channels."""
    return _DROPOUT[dimensions](rate)


def max_pool(dimensions: int, *, round_up: bool = False) -> nn.Module:
    """Max pooling by 2; rounding up keeps the last voxel of an odd side, and so a side of 1."""
    return _MAX_POOL[dimensions](2, ceil_mode=round_up)


def _norm_relu(channels: int, dimensions: int) -> tuple[nn.Module, nn.Module]:
    return _NORM[dimensions](channels), nn.ReLU(inplace=True)
