"""Linear upsampling and its transpose, so that computations on features can stay on their own coarse grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Linear interpolation of ``[B, C, *spatial]`` to ``[B, C, *size]``, corners not aligned."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode=_MODE[len(size)], align_corners=False)


def upsample_transposed(maps: Tensor, size: Sequence[int]) -> Tensor:
    """The transpose of ``upsample``: for all a on the grid ``size``, <upsample(a), maps> = <a, result>.

    Args:
        maps: ``[B, C, *spatial]`` on the fine grid.
        size: the coarse grid.

    Returns:
        ``[B, C, *size]``, without gradient.
    """
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    with torch.enable_grad():
        coarse = maps.new_zeros(*maps.shape[:2], *size).requires_grad_()
        (result,) = torch.autograd.grad(upsample(coarse, maps.shape[2:]), coarse, maps.detach())
    return result
