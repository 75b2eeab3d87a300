"""Changes of intensity, each sample and channel of a batch by its own amount.

Blurring and a lower resolution are linear and separable: along each axis they are one matrix, so that a patch takes a
product of matrices per axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

_TRUNCATE = 4.0
"""Standard deviations at which the Gaussian ends, as in SciPy."""


def change_gamma(image: Tensor, exponents: Tensor, inverted: Tensor) -> Tensor:
    """Raise intensities, scaled to 0..1, to a power, and restore their mean and standard deviation.

    Args:
        image: ``[B, C, *spatial]`` floating point.
        exponents: ``[B, C]``, above 0; below 1 dark voxels become brighter, and 1 changes nothing.
        inverted: boolean ``[B, C]``: the same on the negative image, so that bright voxels change most.

    Returns:
        A new tensor. Channels of a single value stay as they are.
    """
    result = image.clone()
    for item, channel in _where(exponents != 1):
        given = image[item, channel]
        sign = -1.0 if inverted[item, channel] else 1.0
        low, high = (sign * given).aminmax()
        if low == high:
            continue
        raised = ((sign * given - low) / (high - low)).pow(float(exponents[item, channel]))
        scale = (given.var(correction=0) / raised.var(correction=0)).sqrt()
        result[item, channel] = sign * (raised - raised.mean()) * scale + given.mean()
    return result


def blur(image: Tensor, sigmas: Tensor, axes: Sequence[int]) -> Tensor:
    """Blur by a Gaussian; beyond the border the border value is continued.

    Args:
        image: ``[B, C, *spatial]`` floating point.
        sigmas: ``[B, C]`` standard deviations in voxels; 0 changes nothing.
        axes: spatial axes to blur along, counted from 0.

    Returns:
        A new tensor.
    """
    result = image.clone()
    for item, channel in _where(sigmas > 0):
        sigma = float(sigmas[item, channel])
        result[item, channel] = _along(
            image[item, channel], ((axis, _gaussian(image.shape[2 + axis], sigma)) for axis in axes)
        )
    return result


def lower_resolution(image: Tensor, factors: Tensor, axes: Sequence[int]) -> Tensor:
    """Keep a part of the voxels along each axis, and interpolate linearly between them.

    The voxels kept are those of nearest-neighbour sampling (``nearest-exact`` of ``torch.nn.functional.interpolate``).

    Args:
        image: ``[B, C, *spatial]`` floating point.
        factors: ``[B, C]``, at least 1: by which the number of voxels along each axis is divided, and then rounded.
        axes: spatial axes to sample, counted from 0.

    Returns:
        A new tensor.
    """
    result = image.clone()
    for item, channel in _where(factors > 1):
        factor = float(factors[item, channel])
        result[item, channel] = _along(
            image[item, channel], ((axis, _resampling(image.shape[2 + axis], factor)) for axis in axes)
        )
    return result


def _where(chosen: Tensor) -> Iterator[tuple[int, int]]:
    """Sample and channel of each true entry."""
    yield from chosen.nonzero().tolist()


def _along(array: Tensor, matrices: Iterable[tuple[int, Tensor]]) -> Tensor:
    """Multiply each axis of ``[*spatial]`` by a matrix ``[side, side]``."""
    for axis, matrix in matrices:
        # On the last axis, a product from the right needs no copy; elsewhere, sides after the axis are one.
        own = matrix.to(array)
        if axis == array.ndim - 1:
            array = array @ own.T
        else:
            shape = array.shape
            columns = array.reshape(math.prod(shape[:axis]), shape[axis], -1)
            array = (own @ columns).view(shape)
    return array


def _gaussian(side: int, sigma: float) -> Tensor:
    """The blur along an axis, ``[side, side]`` float64."""
    reach = int(_TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    sources = (torch.arange(side).unsqueeze(1) + offsets).clamp(0, side - 1)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, sources, (weights / weights.sum()).expand(side, -1))


def _resampling(side: int, factor: float) -> Tensor:
    """Sampling and interpolation along an axis, ``[side, side]`` float64."""
    kept = max(round(side / factor), 1)
    sampled = ((torch.arange(kept).double() + 0.5) * (side / kept)).floor().long().clamp(max=side - 1)
    position = ((torch.arange(side).double() + 0.5) * (kept / side) - 0.5).clamp(0, kept - 1)
    below = position.floor().long()
    above = (below + 1).clamp(max=kept - 1)
    weight = (position - below).unsqueeze(1)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    matrix.scatter_add_(1, sampled[below].unsqueeze(1), 1 - weight)
    return matrix.scatter_add_(1, sampled[above].unsqueeze(1), weight)
