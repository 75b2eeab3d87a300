"""Predictions on another grid, such as that of the scan before it was resampled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segmend.functional.upsampling import upsample


def resample_map(values: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Linear interpolation of a map ``[*spatial]`` on ``shape`` voxels that fill the same space.

    Corners are not aligned: the borders of the outermost voxels coincide, not their centres. Nothing is smoothed where
    the new voxels are larger. With an equal shape, the values are unchanged.
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
