"""Distance to the surface of a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence

import edt
import numpy as np
from numpy.typing import NDArray

from segmend.core.masks import Mask


def signed_distance(mask: Mask, spacing: Sequence[float]) -> NDArray[np.float32]:
    """Distance of each voxel to the surface of a mask in mm, negative inside.

    The surface is taken to lie half a voxel (of the smallest spacing) before the nearest voxel of the other side.

    Args:
        mask: ``[*spatial]``. An object cut off by the array's edge has no surface there; where there is no surface
            at all, the array's diagonal is the distance.
        spacing: mm from voxel to voxel along each axis.
    """
    inside = np.ascontiguousarray(mask)
    anisotropy, half = tuple(spacing), min(spacing) / 2
    farthest = math.hypot(*np.multiply(mask.shape, spacing))
    outward = edt.edt(~inside, anisotropy=anisotropy, black_border=False)
    inward = edt.edt(inside, anisotropy=anisotropy, black_border=False)
    distance: NDArray[np.float32] = np.where(inside, half - inward, outward - half).clip(-farthest, farthest)
    return distance
