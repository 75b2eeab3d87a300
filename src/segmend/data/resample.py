"""Images and labels on another grid of voxels, edges of the field of view aligned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segmend.functional.upsampling import upsample


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

    Args:
        label: ``[*spatial]`` class indices.
        shape: sides of the result.

    Returns:
        ``[*shape]``; ties go to the lower index.
    """
    if label.shape == tuple(shape):
        return label
    best = np.zeros(tuple(shape), dtype=np.float32)
    result = np.zeros(tuple(shape), dtype=np.uint8)
    for value in np.unique(label):
        share = resample_image((label == value).astype(np.float32)[None], shape)[0]
        larger = share > best
        best[larger], result[larger] = share[larger], value
    return result
