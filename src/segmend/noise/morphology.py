"""Growing and shrinking masks, at a cost that hardly depends on the distance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import edt
import numpy as np

from segmend.core.masks import Mask, bounding_box


def dilate(mask: Mask, side: int) -> Mask:
    """Binary dilation by a full square (2D) or cube (3D).

    Equal to ``scipy.ndimage.binary_dilation(mask, np.ones([side] * mask.ndim))``: a surface moves by
    ``side // 2`` towards lower indices and by ``(side - 1) // 2`` towards higher ones.

    Args:
        mask: ``[*spatial]``.
        side: of the square or cube, in voxels, at least 1.
    """
    if not mask.any():
        return mask.copy()
    box = bounding_box(mask)
    grown = _windows(np.logical_or, mask[box], side, margin=side - 1)
    return _placed(grown, [own.start - side // 2 for own in box], mask.shape)


def erode(mask: Mask, side: int) -> Mask:
    """Binary erosion by a full square (2D) or cube (3D); what lies beyond the array counts as outside.

    Equal to ``scipy.ndimage.binary_erosion(mask, np.ones([side] * mask.ndim))``: a surface moves by
    ``side // 2`` from its lower end and by ``(side - 1) // 2`` from its higher one.

    Args:
        mask: ``[*spatial]``.
        side: of the square or cube, in voxels, at least 1.
    """
    if not mask.any():
        return mask.copy()
    box = bounding_box(mask)
    if any(own.stop - own.start < side for own in box):
        return np.zeros_like(mask)
    shrunk = _windows(np.logical_and, mask[box], side, margin=0)
    complete = tuple(slice(length - side + 1) for length in shrunk.shape)
    return _placed(shrunk[complete], [own.start + side // 2 for own in box], mask.shape)


def shift_surface(mask: Mask, distance: float, spacing: Sequence[float]) -> Mask:
    """Move the surface of a mask by a distance, whatever the spacing of the voxels.

    Outward, all voxels within ``distance`` of the mask are added; inward, all within ``distance`` of the
    outside are removed. What lies beyond the array counts as outside.

    Args:
        mask: ``[*spatial]``.
        distance: in mm, between centres of voxels; outward if positive, inward if negative.
        spacing: mm from voxel to voxel along each axis.
    """
    if not distance or not mask.any():
        return mask.copy()
    box = bounding_box(mask, margin=math.ceil(max(distance, 0.0) / min(spacing)))
    inside = np.ascontiguousarray(mask[box])
    reach = abs(distance) * (1 + 1e-6)  # the transform is float32: one voxel of 0.7 mm must lie within 0.7 mm
    shifted = np.zeros_like(mask)
    if distance > 0:
        shifted[box] = edt.edt(~inside, anisotropy=tuple(spacing), black_border=False) <= reach
    else:
        shifted[box] = edt.edt(inside, anisotropy=tuple(spacing), black_border=True) > reach
    return shifted


def _windows(combine: Callable[[Mask, Mask], Mask], values: Mask, side: int, margin: int) -> Mask:
    """Combine each voxel with those that follow it in a window of ``side`` voxels along every axis.

    A window of any width is two overlapping ones of at least half the width, so a few operations make it.
    They run over the flattened array, which is what makes them fast; but there, a window that passes the
    end of a row continues in the next one, so the last ``side - 1`` voxels along each axis are right only
    where the rows begin with a margin as wide, and are to be dropped otherwise.

    Args:
        combine: and, or.
        values: ``[*spatial]``.
        side: width of the window.
        margin: empty voxels to put before the first one along each axis.
    """
    shape = [length + margin for length in values.shape]
    steps = [math.prod(shape[axis + 1 :]) for axis in range(values.ndim)]
    size = math.prod(shape)
    flat = np.zeros(size + (side - 1) * sum(steps), dtype=bool)
    flat[:size].reshape(shape)[(slice(margin, None),) * values.ndim] = values
    for step in steps:
        width = 1
        while width < side:
            more = min(width, side - width)
            flat = combine(flat[: -more * step], flat[more * step :])
            width += more
    return flat.reshape(shape)


def _placed(part: Mask, corner: Sequence[int], shape: tuple[int, ...]) -> Mask:
    """An empty array of ``shape`` with ``part`` at ``corner``, cut off where it sticks out."""
    whole = np.zeros(shape, dtype=bool)
    source, target = [], []
    for start, length, side in zip(corner, part.shape, shape, strict=True):
        first, last = max(start, 0), min(start + length, side)
        target.append(slice(first, last))
        source.append(slice(first - start, last - start))
    whole[tuple(target)] = part[tuple(source)]
    return whole
