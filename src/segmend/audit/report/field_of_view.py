"""Field of view and resolution of a close-up with a given number of voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_MARGIN = 32
"""Voxels, of the smallest spacing, that are seen around the place in any case."""
_MARGIN = 0.5
"""And of a large place, this share of its longest side."""
_WIDER = 1.1
_COARSER = 1.05


@dataclass(frozen=True)
class Side:
    """Which voxels are shown along an axis.

    Attributes:
        start: the first voxel of the part that is shown.
        length: how many voxels it has.
        count: how many of them are shown, evenly spaced.
    """

    start: int
    length: int
    count: int

    @property
    def step(self) -> float:
        """Voxels from one that is shown to the next."""
        return self.length / self.count

    @property
    def voxels(self) -> NDArray[np.intp]:
        """Those that are shown, counted from the start."""
        return ((np.arange(self.count) + 0.5) * self.step).astype(np.intp)

    @property
    def box(self) -> slice:
        """The part in the scan."""
        return slice(self.start, self.start + self.length)


def field_of_view(
    place: Sequence[slice], shape: Sequence[int], spacing: Sequence[float], most: int
) -> tuple[Side, ...]:
    """Chooses a box around a place and which of its voxels to show.

    Voxels are left out only where the place and its least margin would take too many, so that those shown lie
    equally close along all axes, as far as the scan allows; otherwise the box grows as long as there is room.

    Args:
        place: the smallest box around it.
        shape: of the scan.
        spacing: mm from voxel to voxel along each axis.
        most: voxels that may be shown, in all.
    """
    longest = max((side.stop - side.start) * mm for side, mm in zip(place, spacing, strict=True))
    margin = max(LEAST_MARGIN * min(spacing), _MARGIN * longest)
    box, apart = _grown(place, margin, shape, spacing), min(spacing)
    while _count(_sides(box, spacing, apart)) > most:
        apart *= _COARSER
    while box != [(0, length) for length in shape]:
        margin *= _WIDER
        wider = _grown(place, margin, shape, spacing)
        if _count(_sides(wider, spacing, apart)) > most:
            break
        box = wider
    return _sides(box, spacing, apart)


def _grown(
    place: Sequence[slice], margin: float, shape: Sequence[int], spacing: Sequence[float]
) -> list[tuple[int, int]]:
    """First voxel and one past the last of a box with a margin in mm around a place, clipped to the scan."""
    voxels = [math.ceil(margin / mm) for mm in spacing]
    return [
        (max(side.start - more, 0), min(side.stop + more, length))
        for side, more, length in zip(place, voxels, shape, strict=True)
    ]


def _sides(box: Sequence[tuple[int, int]], spacing: Sequence[float], apart: float) -> tuple[Side, ...]:
    """The sides of a box with voxels at this distance in mm, or at their own spacing if that is larger."""
    return tuple(
        Side(start, stop - start, max(1, math.floor((stop - start) * min(1.0, mm / apart))))
        for (start, stop), mm in zip(box, spacing, strict=True)
    )


def _count(sides: Sequence[Side]) -> int:
    return math.prod(side.count for side in sides)
