"""Tensors and arrays on another grid of voxels that fills the same space.

Corners are not aligned: the borders of the outermost voxels coincide, not their centres. All of it is linear
interpolation; with the transpose of ``upsample``, computations on features can stay on their own coarse grid. NumPy
arrays are resampled on the CPU: scans and labels to the grid that a network sees (``resample_image``,
``resample_label``), where no voxel is passed over, and what it predicts back to the grid of the scan (``resample_map``,
``resample_argmax``), where nothing is smoothed. Cubic splines for scans are in ``splines``, rotations and zooms about
the centre of an image in ``geometry``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, sparse
from torch import Tensor
from torch.nn import functional as F

from segmend.functional.splines import along, halving_matrix, spline_matrix

_SLAB_VOXELS = 2**22
"""New voxels of a label that are computed at once."""

_MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Linear interpolation of ``[B, C, *spatial]`` to ``[B, C, *size]``, corners not aligned."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode=_MODE[len(size)], align_corners=False)


def downsample_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """The class at the centre of each coarse voxel; classes are never mixed, so ``IGNORE`` stays what it is.

    Args:
        labels: ``[B, *spatial]`` class indices.
        size: the coarse grid.

    Returns:
        ``[B, *size]`` of the same type.
    """
    if tuple(labels.shape[1:]) == tuple(size):
        return labels
    coarse = F.interpolate(labels.unsqueeze(1).float(), size=tuple(size), mode="nearest-exact")
    return coarse.squeeze(1).to(labels.dtype)


def upsample_transposed(maps: Tensor, size: Sequence[int]) -> Tensor:
    """The transpose of ``upsample``: for all a on the grid ``size``, <upsample(a), maps> = <a, result>.

    Args:
        maps: ``[B, C, *spatial]`` on the fine grid.
        size: the coarse grid.

    Returns:
        ``[B, C, *size]``, without gradient.
    """
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    with torch.enable_grad():
        coarse = maps.new_zeros(*maps.shape[:2], *size).requires_grad_()
        (result,) = torch.autograd.grad(upsample(coarse, maps.shape[2:]), coarse, maps.detach())
    return result


def resample_image(image: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Linear interpolation of ``[channels, *spatial]`` to ``[channels, *shape]``.

    Halving a side averages pairs of voxels; stronger reductions are halved repeatedly first, so that
    no voxel of the original is passed over.
    """
    tensor = torch.from_numpy(image).unsqueeze(0)
    while any(side >= 4 * wanted for side, wanted in zip(tensor.shape[2:], shape, strict=True)):
        sides = zip(tensor.shape[2:], shape, strict=True)
        tensor = upsample(tensor, [side // 2 if side >= 4 * wanted else side for side, wanted in sides])
    return upsample(tensor, shape).squeeze(0).numpy()


def resample_label(label: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    """The class with the largest fraction of each new voxel, by linear interpolation of every class.

    Only a slab of the result and one class, where it lies in the slab, are in memory at a time, however many classes
    there are. Reductions to a quarter and below are halved first, as in ``resample_image``.

    Args:
        label: ``[*spatial]`` class indices.
        shape: sides of the result.

    Returns:
        ``[*shape]``; ties go to the lower index.
    """
    if label.shape == tuple(shape):
        return label
    matrices = [_linear_matrix(side, wanted) for side, wanted in zip(label.shape, shape, strict=True)]
    result = np.empty(tuple(shape), np.uint8)
    planes = max(1, _SLAB_VOXELS * shape[0] // result.size)
    for first in range(0, shape[0], planes):
        rows = matrices[0][first : first + planes]
        seen = slice(int(rows.indices.min()), int(rows.indices.max()) + 1)
        result[first : first + planes] = _largest_fraction(label[seen], [rows[:, seen], *matrices[1:]])
    return result


def _linear_matrix(side: int, wanted: int) -> sparse.csr_array:
    halving = halving_matrix(side, wanted, 4)
    return sparse.csr_array(spline_matrix(halving.shape[0], wanted, 1) @ halving)


def _largest_fraction(label: NDArray[np.uint8], matrices: Sequence[sparse.csr_array]) -> NDArray[np.uint8]:
    """``resample_label`` by a matrix for each axis; each class is interpolated within its bounding box only."""
    highest = np.zeros([matrix.shape[0] for matrix in matrices], np.float32)
    result = np.zeros(highest.shape, np.uint8)
    for value, box in enumerate(ndimage.find_objects(label.astype(np.int32) + 1)):
        if box is None:
            continue
        fraction, reached = (label[box] == value).astype(np.float32), []
        for axis, (matrix, inside) in enumerate(zip(matrices, box, strict=True)):
            columns = matrix[:, inside]
            rows = np.flatnonzero(np.diff(columns.indptr))
            if not rows.size:  # a class so small that no new voxel sees it
                break
            reached.append(slice(rows[0], rows[-1] + 1))
            fraction = along(columns[reached[-1]], fraction, axis)
        else:
            part = (highest[tuple(reached)], result[tuple(reached)])
            larger = fraction > part[0]
            part[0][larger], part[1][larger] = fraction[larger], value
    return result


def resample_map(values: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Linear interpolation of a map ``[*spatial]`` on ``shape`` voxels that fill the same space.

    Nothing is smoothed where the new voxels are larger. With an equal shape, the values are unchanged.
    """
    resampled = upsample(torch.tensor(values)[None, None], shape)
    return resampled[0, 0].numpy()


def resample_argmax(probabilities: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.uint8]:
    """The most probable class on ``shape`` voxels that fill the same space, ``[*shape]``.

    Probabilities are interpolated as in ``resample_map``, one class after the other: only three maps are
    in memory at a time, and ``probabilities`` may be a ``numpy.memmap``.

    Args:
        probabilities: ``[C, *spatial]``; of equal ones the first class wins.
        shape: voxels along each axis.
    """
    highest = resample_map(probabilities[0], shape)
    classes = np.zeros(shape, np.uint8)
    for index, of_class in enumerate(probabilities[1:], start=1):
        resampled = resample_map(of_class, shape)
        classes[resampled > highest] = index
        np.maximum(highest, resampled, out=highest)
    return classes
