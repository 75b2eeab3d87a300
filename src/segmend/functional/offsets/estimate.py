"""The offset of a label's surface from where a model detects it, and its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from segmend.functional.offsets.profile import (
    best_offset,
    directions,
    expected_dice,
    jackknife_error,
    log_odds,
    separation,
    sums_below,
)
from segmend.functional.offsets.surfaces import Surface

Criterion = Literal["separation", "overlap", "likelihood"]
REACH = 10.0
"""Largest offset in mm that annotators are assumed to have, unless another is given."""
_STEPS_PER_VOXEL = 4
_NO_SEPARATION = 1e-6
"""Separation of a map that is the same everywhere, with room for rounding."""


@dataclass(frozen=True, slots=True)
class OffsetEstimate:
    """The offset of a surface, as a model's probabilities show it.

    Attributes:
        offset: from the given surface to the one that the model detects, in mm, outward positive; 0 if it detects none.
        error: its standard error; at least the step of the search, infinite if no surface is detected.
        by_side: offsets of the two sides of each axis alone, in the order of ``directions``.
        gain: how much the criterion is higher there than at the given surface, 0 or more.
        contrast: ratio of the mean probability within the given surface to that beyond the reach; 1 for a model that
            does not detect the class.
    """

    offset: float
    error: float
    by_side: tuple[float, ...]
    gain: float
    contrast: float


def estimate_offset(
    surface: Surface,
    probability: Tensor,
    spacing: Sequence[float],
    *,
    criterion: Criterion = "separation",
    reach: float = REACH,
    doubt: float = 0.0,
) -> OffsetEstimate:
    r"""Estimate the offset that agrees best with the probabilities of a class, and its jackknife error over the sides.

    The surface shifted by \delta encloses R(\delta) = {distance < \delta}. ``separation`` finds where the mean
    probabilities within R and beyond it differ most, whatever their level: see there. ``overlap`` maximises the
    expected Dice of R, and ``likelihood`` the sum over R of log p / (1 - p), which includes a shell from a probability
    of 0.5 on.

    Args:
        surface: of the given object, which has at least one voxel. Only the voxels that it counts enter.
        probability: ``[*spatial]`` of its class, 0..1; strictly between for the likelihood with no ``doubt``.
        spacing: mm from voxel to voxel along each axis.
        criterion: what is maximised.
        reach: largest offset that is searched for, in mm.
        doubt: probability that a voxel's value is uninformative; bounds the weight of a voxel in the likelihood.
    """
    step = min(spacing) / _STEPS_PER_VOXEL
    middle = round(reach / step)
    offsets = torch.arange(-middle, middle + 1, dtype=torch.float64) * step
    sides = directions(surface.mask, spacing) * surface.counted
    values = sides * (log_odds(probability, doubt) if criterion == "likelihood" else probability)
    # All sides together, all but one of them for the jackknife, and each one alone.
    each = torch.eye(len(sides), dtype=torch.float64)
    taken = torch.cat([torch.ones(1, len(sides)), 1 - each, each])
    volume, mass = (taken @ sums_below(surface.distance, maps, offsets) for maps in (sides, values))
    if criterion == "separation":
        scores = separation(volume, mass)
    elif criterion == "overlap":
        scores = expected_dice(volume, mass, taken @ values.double().flatten(1).sum(1))
    else:
        scores = mass
    # Where a class is nowhere more probable within than beyond, no surface can be found.
    clear = scores.amax(-1) > (_NO_SEPARATION if criterion == "separation" else -math.inf)
    best = best_offset(scores, offsets)
    best = best.where(clear, best[0] * clear[0])
    of_all, without, alone = torch.split(best, [1, len(sides), len(sides)])
    return OffsetEstimate(
        offset=float(of_all),
        error=max(jackknife_error(without), step) if clear[0] else math.inf,
        by_side=tuple(alone.tolist()),
        gain=float(scores[0].amax() - scores[0, middle]) if clear[0] else 0.0,
        contrast=_contrast(surface, probability, reach),
    )


def _contrast(surface: Surface, probability: Tensor, reach: float) -> float:
    weight = surface.counted.to(probability.dtype)
    beyond = surface.distance >= reach
    if not (weight * beyond).any():
        beyond = surface.distance >= 0  # no voxel is that far away: use the surroundings of the object instead
    within, outside = (
        float((probability * weight * region).sum() / (weight * region).sum().clamp(min=1e-6))
        for region in (surface.distance < 0, beyond)
    )
    return within / max(outside, 1e-6)
