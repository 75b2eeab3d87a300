"""Surfaces of masks: the distance between them, and where they touch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmend.core.masks import Mask
from segmend.functional.morphology import signed_distance


def distances_to(
    given: Mask, predicted: Mask, spacing: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signed distances to the given and to the predicted surface; where one has none, those to the other.

    Args:
        given: ``[*spatial]``.
        predicted: the same shape. At least one of the two holds a voxel.
        spacing: mm from voxel to voxel along each axis.
    """
    to_given = signed_distance(given, spacing) if given.any() else None
    to_predicted = signed_distance(predicted, spacing) if predicted.any() else None
    known = to_given if to_given is not None else to_predicted
    assert known is not None
    return known, to_predicted if to_predicted is not None else known


def usual_distance(given: Mask, predicted: Mask, spacing: Sequence[float]) -> float:
    """Median distance of the given surface from the predicted one in mm; NaN if one of them is missing.

    Args:
        given: ``[*spatial]``.
        predicted: the same shape.
        spacing: mm from voxel to voxel along each axis.
    """
    surface = given & ~ndimage.binary_erosion(given, border_value=1)
    if not surface.any() or not predicted.any():
        return math.nan
    return float(np.median(np.abs(signed_distance(predicted, spacing)[surface])))


def contact_area(first: Mask, second: Mask, spacing: Sequence[float]) -> float:
    """Area of the voxel faces between two masks in mm^2 (2D: length of the edges in mm)."""
    total, volume = 0.0, math.prod(spacing)
    for axis, step in enumerate(spacing):
        a, b = np.moveaxis(first, axis, 0), np.moveaxis(second, axis, 0)
        faces = np.count_nonzero(a[1:] & b[:-1]) + np.count_nonzero(a[:-1] & b[1:])
        total += faces * volume / step
    return total
