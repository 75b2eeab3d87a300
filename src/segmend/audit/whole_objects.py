"""Whole objects that a change of a label erases or creates.

Such a change is a finding, not a correction of an outline: a person has to see it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segmend.core.masks import Mask, bounding_box
from segmend.functional.morphology import connected_components

ERASED_FRACTION = 0.8
"""Fraction of an object that counts as all of it, as for the kind ``object_extra``."""

SMALL_FRACTION = 0.01
"""Connected components below this fraction of their class are no objects, as in the checks without a model."""


@dataclass(frozen=True, slots=True)
class ObjectChanges:
    """Numbers of objects.

    Attributes:
        erased: those that lose at least ``ERASED_FRACTION`` of their voxels.
        created: those where there was nothing of the class.
    """

    erased: int
    created: int

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.erased or self.created)

    @classmethod
    def of(cls, before: Mask, after: Mask) -> ObjectChanges:
        """Compare a class before and after a change.

        An object is a connected component (by faces) that holds 1 % of its class or more. It is erased if 80 % of it
        or more is lost, and created if it holds no voxel of the class as it was. A class that vanishes or appears as a
        whole has at least one such object, however small its components are.

        Args:
            before: ``[*spatial]``.
            after: the same shape.
        """
        if not (before != after).any():
            return cls(0, 0)
        box = bounding_box(before | after)
        before, after = before[box], after[box]
        erased = _count(before, after, 1 - ERASED_FRACTION)
        created = _count(after, before, 0.0)
        return cls(max(erased, int(not after.any())), max(created, int(not before.any())))


def _count(objects: Mask, other: Mask, most: float) -> int:
    """Number of objects with at most a fraction of their voxels in the other mask."""
    numbers, sizes = connected_components(objects)
    shared = np.bincount(numbers[other], minlength=len(sizes))
    large = sizes >= SMALL_FRACTION * max(int(sizes[1:].sum()), 1)
    gone = large & (shared <= most * sizes + 1e-9)
    return int(np.count_nonzero(gone[1:]))
