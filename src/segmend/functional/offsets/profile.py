"""Profiles of a map along the surface of a label: sums within each surface position, and criteria for the best one.

Offsets are in mm, positive outward. All maps lie on one grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def directions(mask: Tensor, spacing: Sequence[float]) -> Tensor:
    """Compute how much each voxel belongs to each of the two sides of every axis, from the centre of a mask.

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
    weights = offsets.square() / offsets.square().sum(0).clamp(min=1e-6)
    weights[0] += 1 - weights.sum(0)  # the exact centre has no direction
    return torch.cat([weights * (offsets >= 0), weights * (offsets < 0)])


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


def separation(volume: Tensor, mass: Tensor) -> Tensor:
    r"""Compute how clearly a surface splits a map: the sum of squares between the voxels within and those beyond.

    Where it is largest, the variance within the two parts is smallest (Otsu, IEEE Trans. Syst. Man Cybern. 1979; as a
    model of regions, Chan and Vese, IEEE Trans. Image Process. 2001). That position does not change if the map is
    scaled or shifted: a model with low probabilities for an object locates it as well as a confident one.

    Args:
        volume: ``[..., n]`` voxels within each of several surface positions; the last one encloses all voxels that
            count.
        mass: ``[..., n]`` sum of the map over them.

    Returns:
        ``[..., n]``; negative where the map is larger beyond the surface than within, 0 if one part is empty.
    """
    fraction = volume / volume[..., -1:].clamp(min=1e-6)
    excess = mass - fraction * mass[..., -1:]
    # With the means m_1 within and m_0 beyond, excess = volume (1 - fraction) (m_1 - m_0).
    return excess * excess.abs() / (volume[..., -1:] * fraction * (1 - fraction)).clamp(min=1e-6)


def expected_dice(volume: Tensor, mass: Tensor, total: Tensor) -> Tensor:
    """Compute 2 sum_R p / (|R| + sum p), the expected Dice of a region R by probabilities p.

    Args:
        volume: ``[..., n]`` voxels of R.
        mass: ``[..., n]`` sum of p over R.
        total: ``[...]`` sum of p over all voxels.
    """
    return 2 * mass / (volume + total.unsqueeze(-1)).clamp(min=1e-6)


def log_odds(probability: Tensor, doubt: float) -> Tensor:
    """Compute log-odds of a probability that is uninformative with probability ``doubt``; within +- log(2 / doubt)."""
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
    """Compute the jackknife standard error of an estimate, from those without one of K parts each: ``[K]``.

    Errors of neighbouring voxels are correlated, so the curvature of a likelihood would be far too optimistic.
    """
    parts = len(estimates)
    deviations = estimates.double() - estimates.double().mean()
    return float(((parts - 1) / parts * deviations.square().sum()).sqrt())
