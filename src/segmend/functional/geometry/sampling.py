"""Resampling of a batch under one linear map per sample about the centre of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Mode = Literal["linear", "nearest"]


def resample(x: Tensor, matrix: Tensor, mode: Mode, fill: float) -> Tensor:
    """The image seen through a linear map.

    Where the map only mirrors axes, or changes nothing, voxels are moved and not interpolated.
    The field of view includes the outer half of the border voxels, where the border value is
    continued. Both modes fill the same voxels, and filling never mixes with the image.

    Args:
        x: ``[B, C, *spatial]`` or ``[B, *spatial]``.
        matrix: ``[B, dimensions, dimensions]``: takes the offset of an output voxel from the centre to
            the offset, in voxels, of the point of ``x`` that is seen there.
        mode: "linear" for images and probabilities, "nearest" for labels of any dtype.
        fill: value where the point lies outside ``x``.

    Returns:
        Shape, dtype and device of ``x``.

    Raises:
        ValueError: ``x`` is not floating point and the mode is "linear".
    """
    if mode == "linear" and not x.is_floating_point():
        raise ValueError(f'labels of type {x.dtype} cannot be interpolated; use mode="nearest"')
    others = _interpolated(matrix)
    if len(others) == len(x):
        return _resampled(x, matrix, mode, fill)
    # Augmentation leaves most samples where they are, so these cost nothing.
    moved = dict(zip(others, _resampled(x[others], matrix[others], mode, fill) if others else x[:0], strict=True))
    return torch.stack([moved[row] if row in moved else _mirrored(x[row], matrix[row]) for row in range(len(x))])


def _interpolated(matrix: Tensor) -> list[int]:
    """The samples that are not only mirrored."""
    only_mirrored = (matrix.abs() == torch.eye(matrix.shape[-1]).to(matrix)).flatten(1).all(1).tolist()
    return [row for row, exact in enumerate(only_mirrored) if not exact]


def _mirrored(item: Tensor, matrix: Tensor) -> Tensor:
    """One sample under a diagonal matrix of 1 and -1."""
    signs = matrix.diagonal().tolist()
    return item.flip([axis - len(signs) for axis, sign in enumerate(signs) if sign < 0])


def _resampled(x: Tensor, matrix: Tensor, mode: Mode, fill: float) -> Tensor:
    """The same, by interpolation for every sample."""
    shape = x.shape[x.ndim - matrix.shape[-1] :]
    maps = x.reshape(x.shape[0], -1, *shape)
    points = _source_points(matrix.float().to(x.device), shape)
    seen = _seen(points, shape)
    sampled = _nearest(maps, points) if mode == "nearest" else _linear(maps, points)
    return sampled.masked_fill(~seen.unsqueeze(1), fill).view(x.shape)


def is_inside(matrix: Tensor, shape: Sequence[int], device: torch.device | str) -> Tensor:
    """Which voxels of an image of this shape would not be filled: boolean ``[B, *spatial]``."""
    inside = torch.ones(len(matrix), *shape, dtype=torch.bool, device=device)
    if others := _interpolated(matrix):
        inside[others] = _seen(_source_points(matrix[others].float().to(device), shape), shape)
    return inside


def _seen(points: list[Tensor], shape: Sequence[int]) -> Tensor:
    """Whether points lie in the field of view."""
    return reduce(torch.logical_and, [p.abs() <= side / 2 for p, side in zip(points, shape, strict=True)])


def _source_points(matrix: Tensor, shape: Sequence[int]) -> list[Tensor]:
    """For each axis, the offset from the centre of the point seen in each output voxel: ``[B, *spatial]``.

    Written as sums, not as a product of matrices, which autocast and TF32 would round to 10 bits or less.
    """
    entries = matrix.view(*matrix.shape, *[1] * len(shape))
    offsets = []
    for axis, side in enumerate(shape):
        offset = torch.arange(side, device=matrix.device) - (side - 1) / 2
        offsets.append(offset.view(-1, *[1] * (len(shape) - 1 - axis)))
    return [reduce(torch.add, [entries[:, i, j] * o for j, o in enumerate(offsets)]) for i in range(len(shape))]


def _nearest(maps: Tensor, points: list[Tensor]) -> Tensor:
    """Sample by index, because grid_sample would convert labels to floating point."""
    shape = maps.shape[2:]
    kind = torch.int32 if math.prod(shape) < 2**31 else torch.int64
    index = torch.zeros_like(points[0], dtype=kind)
    for point, side in zip(points, shape, strict=True):
        index.mul_(side).add_((point + side / 2).floor_().clamp_(0, side - 1).to(kind))
    index = index.long().flatten(1).unsqueeze(1).expand(-1, maps.shape[1], -1)
    return maps.flatten(2).gather(2, index).view(maps.shape)


def _linear(maps: Tensor, points: list[Tensor]) -> Tensor:
    """Call grid_sample, which needs the last axis first and the field of view as -1..1; at least in float32."""
    grid = torch.empty(*points[0].shape, len(points), device=maps.device)
    for axis, (point, side) in enumerate(zip(points, maps.shape[2:], strict=True)):
        torch.div(2 * point, side, out=grid[..., len(points) - 1 - axis])
    wide = maps if maps.dtype == torch.float64 else maps.float()
    grid = grid.to(wide.dtype)
    return F.grid_sample(wide, grid, padding_mode="border", align_corners=False).to(maps.dtype)
