"""How much of a scan to show around a place, and how sharp, with a given number of voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence

Box = tuple[slice, ...]

LEAST_MARGIN = 32
"""Voxels, of the smallest spacing, that are seen around the place in any case."""
_MARGIN = 0.5
"""And of a large place, this share of its longest side."""
_WIDER = 1.1


def field_of_view(
    place: Box, shape: Sequence[int], spacing: Sequence[float], most: int
) -> tuple[Box, tuple[int, ...]]:
    """Chooses a box around a place, and every how many of its voxels to show along each axis.

    Voxels are left out only where the place and its least margin would take too many, first along the axis on
    which they lie closest; then the box grows as long as there is room.

    Args:
        place: the smallest box around it.
        shape: of the scan.
        spacing: mm from voxel to voxel along each axis.
        most: voxels that may be shown.

    Returns:
        The box, its sides multiples of the steps, and the steps.
    """
    longest = max((side.stop - side.start) * step for side, step in zip(place, spacing, strict=True))
    margin = max(LEAST_MARGIN * min(spacing), _MARGIN * longest)
    box, steps = _grown(place, margin, shape, spacing), [1] * len(shape)
    while _count(box, steps) > most:
        # On a tie the last axis: the slices that are looked at first stay sharp.
        finest = min(range(len(shape)), key=lambda axis: (steps[axis] * spacing[axis], -axis))
        steps[finest] += 1
    while (wider := _grown(place, margin := margin * _WIDER, shape, spacing)) != box and _count(wider, steps) <= most:
        box = wider
    steps = [min(step, side.stop - side.start) for step, side in zip(steps, box, strict=True)]
    whole = (slice(side.start, side.stop - (side.stop - side.start) % step) for side, step in zip(box, steps, strict=True))
    return tuple(whole), tuple(steps)


def _grown(place: Box, margin: float, shape: Sequence[int], spacing: Sequence[float]) -> Box:
    """A box with so many mm around it, as far as the scan reaches."""
    voxels = [math.ceil(margin / step) for step in spacing]
    return tuple(
        slice(max(side.start - more, 0), min(side.stop + more, length))
        for side, more, length in zip(place, voxels, shape, strict=True)
    )


def _count(box: Box, steps: Sequence[int]) -> int:
    return math.prod(max(1, (side.stop - side.start) // step) for side, step in zip(box, steps, strict=True))
