"""Morphology of binary masks: growing and shrinking, distance to the surface, connected components, holes.

NumPy arrays on the CPU, by edt, SciPy and scikit-image; what takes tensors converts them. The cost of growing and
shrinking hardly depends on the distance. Components are voxels connected through their faces (in 2D, their edges).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import edt
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure
from torch import Tensor

from segmend.core.masks import IGNORE, Mask, bounding_box


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


def largest_component(label: NDArray[np.uint8], classes: Collection[int] | None = None) -> NDArray[np.uint8]:
    """Keep the largest connected component of foreground classes; the others become background.

    Of components of the same size, the one that comes first in the array is kept. ``IGNORE`` is not a class and is
    kept.

    Args:
        label: ``[*spatial]`` class indices, 2D or 3D.
        classes: class indices that this is done for; all by default.

    Returns:
        A new array of the same shape.
    """
    components = measure.label(label, background=0, connectivity=1)
    sizes = np.bincount(components.ravel())
    class_of = np.zeros(len(sizes), np.uint8)
    class_of[components] = label
    kept = class_of == IGNORE
    for index in set(class_of.tolist()) - {0, IGNORE}:
        if classes is not None and index not in classes:
            kept |= class_of == index
            continue
        kept[np.argmax(np.where(class_of == index, sizes, 0))] = True
    largest: NDArray[np.uint8] = label * kept[components]
    return largest


def connected_components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number the connected components of a mask.

    Args:
        mask: ``[*spatial]``.

    Returns:
        Number of each voxel's component, from 1 in the order of the array and 0 outside the mask, ``[*spatial]``; and
        how many voxels have each number, ``[components + 1]``.
    """
    numbers, _ = ndimage.label(mask)
    return numbers, np.bincount(numbers.ravel())


def without_small_regions(mask: Tensor, share: float) -> Tensor:
    """Remove connected components that are smaller than a fraction of the whole mask; the result may be empty.

    Args:
        mask: boolean ``[*spatial]`` on the CPU.
        share: 0..1.
    """
    components, sizes = connected_components(mask.numpy())
    kept = sizes / max(int(mask.sum()), 1) >= share
    kept[0] = False
    return torch.from_numpy(kept[components])


def without_small_holes(mask: Tensor, share: float) -> Tensor:
    """Fill enclosed holes that are smaller than a fraction of the mask.

    Args:
        mask: boolean ``[*spatial]`` on the CPU.
        share: 0..1.
    """
    filled = torch.from_numpy(ndimage.binary_fill_holes(mask.numpy()))
    holes, sizes = connected_components((filled & ~mask).numpy())
    small = sizes / max(int(mask.sum()), 1) < share
    small[0] = False
    return mask | torch.from_numpy(small[holes])


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
