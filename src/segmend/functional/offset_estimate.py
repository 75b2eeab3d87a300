"""By how far the surface of a label lies from where a model sees it, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from segmend.functional.surface_offset import (
    best_offset,
    directions,
    jackknife_error,
    log_odds,
    sums_below,
)

Criterion = Literal["overlap", "likelihood"]
REACH = 10.0
"""Largest offset in mm that annotators are taken to have, unless something else is known."""
_STEPS_A_VOXEL = 4


@dataclass(frozen=True, slots=True)
class OffsetEstimate:
    """Where a model sees a surface.

    Attributes:
        offset: from the given surface to the seen one, in mm, outward positive.
        error: its standard error; at least the step of the search.
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
    beta: float = 0.5,
    doubt: float = 0.0,
    counted: Tensor | None = None,
) -> OffsetEstimate:
    r"""The offset that agrees best with the probabilities of a class, and its jackknife error over the object's sides.

    The surface moved by \delta encloses R(\delta) = {distance < \delta}. ``overlap`` takes a shell in as soon as its
    mean probability exceeds what the best expected F-measure asks for, but at most even odds: see ``excess``.
    ``likelihood`` maximises the sum over R of log p / (1 - p), and so always asks for even odds.

    Args:
        mask: ``[*spatial]`` boolean, the given object; at least one voxel.
        distance: ``[*spatial]`` signed distance to its surface in mm, negative inside.
        probability: ``[*spatial]`` of its class, 0..1; strictly between for the likelihood with no ``doubt``.
        spacing: mm from voxel to voxel along each axis.
        criterion: what is maximised.
        reach: largest offset that is looked for, in mm.
        beta: of the F-measure, > 0: 1 makes it Dice, less weighs precision more.
        doubt: chance that a probability means nothing; bounds the weight of a voxel in the likelihood.
        counted: ``[*spatial]`` weight of each voxel, 0..1; all count by default.
    """
    step = min(spacing) / _STEPS_A_VOXEL
    middle = round(reach / step)
    offsets = torch.arange(-middle, middle + 1, dtype=torch.float64) * step
    sides = directions(mask, spacing)
    if counted is not None:
        sides = sides * counted
    values = sides * (probability if criterion == "overlap" else log_odds(probability, doubt))
    # All sides together, all but one of them for the jackknife, and each one alone.
    each = torch.eye(len(sides), dtype=torch.float64)
    taken = torch.cat([torch.ones(1, len(sides)), 1 - each, each])
    scores = gained = taken @ sums_below(distance, values, offsets)
    if criterion == "overlap":
        volume = taken @ sums_below(distance, sides, offsets)
        scores = excess(volume, gained, taken @ values.double().flatten(1).sum(1), beta)
    best, without, alone = torch.split(best_offset(scores, offsets), [1, len(sides), len(sides)])
    return OffsetEstimate(
        offset=float(best),
        error=max(jackknife_error(without), step),
        by_side=tuple(alone.tolist()),
        gain=float(scores[0].amax() - scores[0, middle]),
        contrast=_contrast(distance, probability, reach, counted),
    )


def excess(volume: Tensor, mass: Tensor, total: Tensor, beta: float) -> Tensor:
    r"""sum_R (p - \theta): by how much the probabilities in a region R exceed what is asked of its voxels.

    \theta is 1/2 for a model that means what it says. One that was trained briefly, or on contradictory labels, sees
    objects faintly, and some more faintly than others; so no more is asked than by the best expected F-measure of this
    very object, F = max_R (1 + \beta^2) sum_R p / (|R| + \beta^2 sum p), which takes a voxel in from
    F / (1 + \beta^2) on.

    Args:
        volume: ``[..., n]`` voxels of R, for each of several regions.
        mass: ``[..., n]`` sum of p over R.
        total: ``[...]`` sum of p over all voxels.
        beta: > 0.
    """
    share = beta**2
    best = (mass / (volume + share * total.unsqueeze(-1)).clamp(min=1e-6)).amax(-1, keepdim=True)
    return mass - best.clamp(max=0.5) * volume


def _contrast(distance: Tensor, probability: Tensor, reach: float, counted: Tensor | None) -> float:
    weight = torch.ones_like(probability) if counted is None else counted.to(probability.dtype)
    beyond = distance >= reach
    if not (weight * beyond).any():
        beyond = distance >= 0  # nothing is that far: what lies around the object has to do
    within, outside = (
        float((probability * weight * where).sum() / (weight * where).sum().clamp(min=1e-6))
        for where in (distance < 0, beyond)
    )
    return within / max(outside, 1e-6)
