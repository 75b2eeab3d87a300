"""Cubic splines and linear interpolation as one sparse matrix for each axis.

Interpolation on a grid is separable and linear: along an axis of n voxels it is a matrix ``[m, n]`` with a few entries
a row. Such a matrix is applied to whole arrays, or rows and columns of it to parts of them, with the same result to the
last bit whatever the number of threads. Corners are not aligned: the borders of the outermost voxels coincide, and
beyond them the image is continued by reflection.

The splines are those of Unser, IEEE Signal Processing Magazine 1999: coefficients by SciPy's recursive filter, values
by the cubic B-spline.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

_SUPPORT = {1: 2, 3: 4}
"""Voxels that a new one depends on, by the order of the spline."""


def resample_spline(
    image: NDArray[np.float32], shape: Sequence[int], linear: Collection[int] = ()
) -> NDArray[np.float32]:
    """Interpolation of ``[channels, *spatial]`` on ``shape`` voxels by cubic splines.

    A side that is to become half as long or shorter is first halved by averaging pairs, as often as that is possible,
    so that no voxel is passed over. Splines overshoot at edges: values are clipped to the range of their channel.

    Args:
        image: finite values; it is not changed.
        shape: sides of the result.
        linear: axes of ``shape`` along which interpolation is linear, such as that across thick slices, where a spline
            would put the edge of an organ into neighbouring slices.

    Returns:
        ``[channels, *shape]``; along a side that keeps its length, nothing is changed.
    """
    sides = image.shape[1:]
    if sides == tuple(shape):
        return image.copy()
    # What shrinks most goes first: the rest then has fewer voxels to pass.
    order = sorted(range(len(sides)), key=lambda axis: shape[axis] / sides[axis])
    result = np.empty((len(image), *shape), np.float32)
    for channel, new in zip(image, result, strict=True):
        resampled = channel
        for axis in order:
            if sides[axis] == shape[axis]:
                continue
            halving = halving_matrix(sides[axis], shape[axis], 2)
            if halving.shape[0] < sides[axis]:
                resampled = along(halving, resampled, axis)
            if resampled.shape[axis] != shape[axis]:
                resampled = _interpolated(resampled, axis, shape[axis], 1 if axis in linear else 3)
        np.clip(resampled, channel.min(), channel.max(), out=new)
    return result


def _interpolated(array: NDArray[np.float32], axis: int, wanted: int, order: int) -> NDArray[np.float32]:
    side = array.shape[axis]
    if order > 1 and side > 1:
        array = ndimage.spline_filter1d(array, order, axis, np.float32, mode="reflect")
    return along(spline_matrix(side, wanted, order if side > 1 else 1), array, axis)


def along(matrix: sparse.csr_array, array: NDArray[Any], axis: int) -> NDArray[np.float32]:
    """Multiply an array along an axis by a matrix ``[m, n]``; of ``n`` voxels it then has ``m``."""
    first = np.moveaxis(array, axis, 0)
    product = matrix @ np.ascontiguousarray(first, np.float32).reshape(len(first), -1)
    return np.moveaxis(product.reshape(matrix.shape[0], *first.shape[1:]), 0, axis)


@lru_cache(maxsize=64)
def halving_matrix(side: int, wanted: int, factor: int) -> sparse.csr_array:
    """The matrix ``[m, side]`` that averages pairs of voxels, and pairs of these.

    Args:
        side: voxels that there are.
        wanted: voxels that they are to become in the end.
        factor: a side is halved while it is this many times as long as wanted, or longer; 2 or more.

    Returns:
        With ``wanted`` rows, or up to ``factor`` times as many. An odd side is averaged by linear interpolation.
    """
    matrix = sparse.csr_array(sparse.eye_array(side, dtype=np.float32))
    while side >= factor * wanted:
        matrix = sparse.csr_array(spline_matrix(side, side // 2, 1) @ matrix)
        side //= 2
    return matrix


@lru_cache(maxsize=64)
def spline_matrix(side: int, wanted: int, order: int) -> sparse.csr_array:
    """The matrix ``[wanted, side]`` that gives the values of a spline at new voxels from its coefficients.

    Args:
        side: coefficients; for order 1, these are the voxels themselves.
        wanted: new voxels.
        order: 1 or 3.
    """
    at = (np.arange(wanted) + 0.5) * side / wanted - 0.5
    support = _SUPPORT[order]
    first = np.floor(at).astype(int) - (support // 2 - 1)
    columns = first[:, None] + np.arange(support)
    distance = np.abs(at[:, None] - columns)
    if order == 1:
        weights = 1 - distance
    else:
        weights = np.where(distance < 1, 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6)
    rows = np.repeat(np.arange(wanted), support)
    entries = (weights.ravel().astype(np.float32), (rows, _reflected(columns, side).ravel()))
    matrix = sparse.csr_array(sparse.coo_array(entries, shape=(wanted, side)))
    matrix.eliminate_zeros()
    return matrix


def _reflected(index: NDArray[np.intp], side: int) -> NDArray[np.intp]:
    """Voxels that stand for those beyond the border: d c b a | a b c d | d c b a."""
    folded = np.mod(index, 2 * side)
    nearest: NDArray[np.intp] = np.minimum(folded, 2 * side - 1 - folded)
    return nearest
