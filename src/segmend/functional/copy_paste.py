"""Pasting a cuboid of one sample into another: BCP (Bai et al., CVPR 2023) and CutMix (Yun et al., ICCV 2019).

Cuboids are drawn from torch's global generator; in 2D they are rectangles.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_VOLUME = (0.02, 0.4)
"""Least and largest fraction of the image that CutMix pastes."""

_ASPECT = 0.3
"""Least ratio of two sides, relative to those of the image."""


def paste(values: Tensor, pasted: Tensor, inside: Tensor) -> Tensor:
    """Values of one batch with those of another inside a mask.

    Args:
        values: ``[B, channels, *spatial]``, or labels ``[B, *spatial]``.
        pasted: the same shape.
        inside: boolean ``[B, *spatial]``, or ``[1, *spatial]`` for all samples.

    Returns:
        A new tensor of that shape.
    """
    return torch.where(inside if values.ndim == inside.ndim else inside.unsqueeze(1), pasted, values)


def random_cuboid(shape: Sequence[int], fraction: float, device: torch.device) -> Tensor:
    """Draw a cuboid at a uniform place.

    Args:
        shape: of the image, spatial axes only.
        fraction: of each side of the image, above 0 to 1; rounded down, but at least one voxel.
        device: where the result is wanted.

    Returns:
        Boolean ``[1, *spatial]``, true inside.
    """
    sides = [max(int(side * fraction), 1) for side in shape]
    starts = [int(torch.randint(whole - side + 1, ())) for whole, side in zip(shape, sides, strict=True)]
    return _filled(shape, torch.tensor([starts]), torch.tensor([sides]), device)


def random_cuboids(count: int, shape: Sequence[int], chance: float, device: torch.device) -> Tensor:
    """Draw a cuboid for each of several samples, as CutMix for dense prediction does, or none.

    Its volume is uniform in 2..40 % of the image, its sides differ by a factor of up to 1 / 0.3 relative to the
    image's, and no side is longer than the image.

    Args:
        count: samples.
        shape: of the image, spatial axes only.
        chance: probability that a sample gets one, 0..1.
        device: where the result is wanted.

    Returns:
        Boolean ``[count, *spatial]``, true inside.
    """
    whole = torch.tensor(shape)
    volumes = torch.empty(count, 1).uniform_(*_VOLUME)
    # In two dimensions the ratio of both sides is between _ASPECT and its reciprocal.
    stretch = _ASPECT ** torch.empty(count, len(shape)).uniform_(-0.5, 0.5)
    stretch = stretch / stretch.log().mean(1, keepdim=True).exp()
    fractions = (volumes ** (1 / len(shape)) * stretch).clamp(max=1)
    sides = (fractions * whole).round().long().clamp(min=1)
    starts = (torch.rand(count, len(shape)) * (whole - sides + 1)).long()
    chosen = torch.rand(count, 1) < chance
    return _filled(shape, starts, sides * chosen, device)


def _filled(shape: Sequence[int], starts: Tensor, sides: Tensor, device: torch.device) -> Tensor:
    """Masks ``[B, *spatial]`` of cuboids by their first corners and sides, both ``[B, dimensions]``."""
    inside = torch.ones(len(starts), *[1] * len(shape), dtype=torch.bool, device=device)
    for axis, length in enumerate(shape):
        positions = torch.arange(length)
        first, side = starts[:, axis, None], sides[:, axis, None]
        along = ((positions >= first) & (positions < first + side)).to(device)
        inside = inside & along.view(len(starts), *[-1 if other == axis else 1 for other in range(len(shape))])
    return inside
