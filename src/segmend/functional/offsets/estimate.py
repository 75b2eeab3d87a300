"""The offset of a label's surface from where a model sees it, and its uncertainty."""

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
    sums_below,
)

Criterion = Literal["separation", "overlap", "likelihood"]
REACH = 10.0
"""Largest offset in mm that annotators are assumed to have, unless another is given."""
_STEPS_A_VOXEL = 4
_NOTHING = 1e-6
"""Separation of a map that is the same everywhere, with room for rounding."""


@dataclass(frozen=True, slots=True)
class OffsetEstimate:
    """Where a model sees a surface.

    Attributes:
        offset: from the given surface to the seen one, in mm, outward positive; 0 if none is seen.
        error: its standard error; at least the step of the search, infinite if no surface is seen.
        by_side: offsets of the two sides of each axis alone, in the order of ``directions``.
        gain: how much the criterion is higher there than at the given surface, 0 or more.
        contrast: how many times more probable the class is within the given surface than beyond the reach; 1 for a
            model that sees nothing.
    """

    offset: float
    error: float
    by_side: tuple[float, ...]
    gain: float
    contrast: float


def estimate_offset(
    mask: Tensor,
    distance: Tensor,
    probability: Tensor,
    spacing: Sequence[float],
    *,
    criterion: Criterion,
    reach: float,
    doubt: float = 0.0,
    counted: Tensor | None = None,
) -> OffsetEstimate:
    r"""Estimate the offset that agrees best with the probabilities of a class, and its jackknife error over the sides.

    The surface moved by \delta encloses R(\delta) = {distance < \delta}. ``separation`` finds where the probabilities
    within and those beyond differ most, whatever their level: see there. ``overlap`` maximises the expected Dice of R,
    and ``likelihood`` the sum over R of log p / (1 - p), which includes a shell from a probability of 0.5 on.

    Args:
        mask: ``[*spatial]`` boolean, the given object; at least one voxel.
        distance: ``[*spatial]`` signed distance to its surface in mm, negative inside.
        probability: ``[*spatial]`` of its class, 0..1; strictly between for the likelihood with no ``doubt``.
        spacing: mm from voxel to voxel along each axis.
        criterion: what is maximised.
        reach: largest offset that is searched for, in mm.
        doubt: probability that a voxel's value is uninformative; bounds the weight of a voxel in the likelihood.
        counted: ``[*spatial]`` weight of each voxel, 0..1; all count by default.
    """
    step = min(spacing) / _STEPS_A_VOXEL
    middle = round(reach / step)
    offsets = torch.arange(-middle, middle + 1, dtype=torch.float64) * step
    sides = directions(mask, spacing)
    if counted is not None:
        sides = sides * counted
    values = sides * (log_odds(probability, doubt) if criterion == "likelihood" else probability)
    # All sides together, all but one of them for the jackknife, and each one alone.
    each = torch.eye(len(sides), dtype=torch.float64)
    taken = torch.cat([torch.ones(1, len(sides)), 1 - each, each])
    volume, gained = (taken @ sums_below(distance, maps, offsets) for maps in (sides, values))
    if criterion == "separation":
        scores = separation(volume, gained)
    elif criterion == "overlap":
        scores = expected_dice(volume, gained, taken @ values.double().flatten(1).sum(1))
    else:
        scores = gained
    # Where a class is nowhere more probable within than beyond, no surface can be found.
    clear = scores.amax(-1) > (_NOTHING if criterion == "separation" else -math.inf)
    found = best_offset(scores, offsets)
    found = found.where(clear, found[0] * clear[0])
    best, without, alone = torch.split(found, [1, len(sides), len(sides)])
    return OffsetEstimate(
        offset=float(best),
        error=max(jackknife_error(without), step) if clear[0] else math.inf,
        by_side=tuple(alone.tolist()),
        gain=float(scores[0].amax() - scores[0, middle]) if clear[0] else 0.0,
        contrast=_contrast(distance, probability, reach, counted),
    )


def separation(volume: Tensor, mass: Tensor) -> Tensor:
    r"""How clearly a surface splits a map: the sum of squares between the voxels within and those beyond.

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
    share = volume / volume[..., -1:].clamp(min=1e-6)
    above = mass - share * mass[..., -1:]
    # With the means m_1 within and m_0 beyond, above = volume (1 - share) (m_1 - m_0).
    return above * above.abs() / (volume[..., -1:] * share * (1 - share)).clamp(min=1e-6)


def _contrast(distance: Tensor, probability: Tensor, reach: float, counted: Tensor | None) -> float:
    weight = torch.ones_like(probability) if counted is None else counted.to(probability.dtype)
    beyond = distance >= reach
    if not (weight * beyond).any():
        beyond = distance >= 0  # no voxel is that far away: use the surroundings of the object instead
    within, outside = (
        float((probability * weight * where).sum() / (weight * where).sum().clamp(min=1e-6))
        for where in (distance < 0, beyond)
    )
    return within / max(outside, 1e-6)
