"""Profiles along the surface of a label, and the label with shifted surfaces.

Offsets are in mm, positive outward. All maps lie on one grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmend.core.masks import IGNORE


def directions(mask: Tensor, spacing: Sequence[float]) -> Tensor:
    """How much each voxel belongs to each of the two sides of every axis, as seen from the centre of a mask.

    The weights are the squares of the components of the direction, so that they vary smoothly around the object.

    Args:
        mask: ``[*spatial]`` boolean with at least one voxel.
        spacing: mm from voxel to voxel along each axis.

    Returns:
        ``[2 * dimensions, *spatial]``, >= 0, summing to 1.
    """
    places = mask.nonzero().float()
    axes = [
        (torch.arange(side) - float(centre)) * float(step)
        for side, centre, step in zip(mask.shape, places.mean(0), spacing, strict=True)
    ]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    shares = offsets.square() / offsets.square().sum(0).clamp(min=1e-6)
    shares[0] += 1 - shares.sum(0)  # the exact centre has no direction
    return torch.cat([shares * (offsets >= 0), shares * (offsets < 0)])


def sums_below(distance: Tensor, maps: Tensor, offsets: Tensor) -> Tensor:
    """Compute sums of maps over the object, for each of several surface positions, in one pass over the voxels.

    Args:
        distance: ``[*spatial]`` signed distance to the surface, negative inside.
        maps: ``[K, *spatial]``.
        offsets: ``[n]`` ascending, in mm.

    Returns:
        ``[K, n]`` float64: sum over the voxels with ``distance < offset``.
    """
    inside = distance < offsets[-1]
    at = torch.bucketize(distance[inside], offsets, right=True)
    sums = maps.new_zeros(len(maps), len(offsets), dtype=torch.float64)
    return sums.index_add_(1, at, maps[:, inside].double()).cumsum(1)


def expected_dice(volume: Tensor, mass: Tensor, total: Tensor) -> Tensor:
    """2 sum_R p / (|R| + sum p): how well a region R agrees with probabilities p.

    Args:
        volume: ``[..., n]`` voxels of R.
        mass: ``[..., n]`` sum of p over R.
        total: ``[...]`` sum of p over all voxels.
    """
    return 2 * mass / (volume + total.unsqueeze(-1)).clamp(min=1e-6)


def log_odds(probability: Tensor, doubt: float) -> Tensor:
    """Log-odds of a probability that is uninformative with probability ``doubt``: never beyond +- log(2 / doubt)."""
    probability = (1 - doubt) * probability.float() + doubt / 2
    return probability.log() - (-probability).log1p()


def best_offset(scores: Tensor, offsets: Tensor) -> Tensor:
    """Find the offset of the largest score; the middle of those with equal scores, since voxels have a finite size.

    Args:
        scores: ``[..., n]``.
        offsets: ``[n]``.

    Returns:
        ``[...]``.
    """
    best = scores >= scores.amax(-1, keepdim=True) - 1e-9
    return (best * offsets).sum(-1) / best.sum(-1)


def jackknife_error(estimates: Tensor) -> float:
    """Jackknife standard error of an estimate, from those without one of K parts each: ``[K]``, in their unit.

    Errors of neighbouring voxels are correlated, so the curvature of a likelihood would be far too optimistic.
    """
    parts = len(estimates)
    deviations = estimates.double() - estimates.double().mean()
    return float(((parts - 1) / parts * deviations.square().sum()).sqrt())


def moved(distances: Tensor, outline: Tensor, offsets: Tensor, label: Tensor) -> Tensor:
    """Shift the classes of a label: each voxel is assigned to the class that it lies deepest in.

    Where two classes meet, the border between them runs where both surfaces have moved by the same distance. Only the
    outline of all classes together borders on the background, so that classes that shrink equally leave no gap between
    them.

    Args:
        distances: ``[C - 1, *spatial]`` signed distances of the foreground classes.
        outline: ``[*spatial]`` signed distance of all of them together.
        offsets: ``[C - 1]`` or ``[C - 1, *spatial]``, in mm.
        label: ``[*spatial]`` the given class indices; ``IGNORE`` is kept.

    Returns:
        ``[*spatial]`` uint8.
    """
    offsets = offsets.view(*offsets.shape, *[1] * (distances.ndim - offsets.ndim)).expand_as(distances)
    deepest = (offsets - distances).argmax(0, keepdim=True)
    inside = outline < offsets.gather(0, deepest)[0]
    return torch.where(inside, deepest[0] + 1, 0).where(label != IGNORE, IGNORE).to(torch.uint8)
