"""Surfaces of masks: their area, and where they touch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segmend.masks import Mask

_SMOOTH = {2: math.pi / 4, 3: 2 / 3}
"""Area of a smooth surface relative to that of the voxel faces along it, on average over all directions."""


def surface_area(mask: Mask, spacing: Sequence[float]) -> float:
    """Area of a mask's surface in mm^2 (2D: its length in mm), voxel steps smoothed out."""
    padded = np.pad(mask, 1)
    return contact_area(padded, ~padded, spacing) * _SMOOTH[mask.ndim]


def contact_area(first: Mask, second: Mask, spacing: Sequence[float]) -> float:
    """Area of the voxel faces between two masks in mm^2 (2D: length of the edges in mm)."""
    total, volume = 0.0, math.prod(spacing)
    for axis, step in enumerate(spacing):
        a, b = np.moveaxis(first, axis, 0), np.moveaxis(second, axis, 0)
        faces = np.count_nonzero(a[1:] & b[:-1]) + np.count_nonzero(a[:-1] & b[1:])
        total += faces * volume / step
    return total
