"""Predictors of a batch of windows, and predictors made from others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from torch import Tensor
from torch.nn import functional as F

from segmend.core.errors import InputError
from segmend.functional.soft_labels import sharpen

Predictor = Callable[[Tensor], Tensor]
"""Maps images ``[B, channels, *spatial]`` to class probabilities ``[B, C, *spatial]``, each image on its own."""

_SMALLEST = 1e-12
"""Probability whose logarithm stands for that of 0."""


def flip_averaged(predict: Predictor, axes: Sequence[int]) -> Predictor:
    """Test-time augmentation: the mean of the predictions for all flips, each flipped back.

    Args:
        predict: called ``2 ** len(axes)`` times for each batch.
        axes: spatial axes to flip, counted from 0; all their combinations are taken.

    Raises:
        InputError: an axis is negative or named twice.
    """
    if len(set(axes)) < len(axes) or any(axis < 0 for axis in axes):
        raise InputError(
            "axes", f"are {tuple(axes)}", "name each spatial axis once, counted from 0", code="invalid-value"
        )
    dims = [axis + 2 for axis in axes]
    flips = [flip for count in range(len(dims) + 1) for flip in combinations(dims, count)]

    def averaged(image: Tensor) -> Tensor:
        total = predict(image).float()
        for flip in flips[1:]:
            total = total + predict(image.flip(flip)).flip(flip)
        return total / len(flips)

    return averaged


def tempered(predict: Predictor, temperature: float) -> Predictor:
    """Calibrate a predictor by one temperature (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).

    Args:
        predict: any.
        temperature: T, above 0; the probabilities become p^(1/T), relative to their sum over the classes.
    """
    return lambda image: sharpen(predict(image).float().clamp(min=_SMALLEST), temperature)


def predict_slices(predict: Predictor) -> Predictor:
    """Turn a predictor of 2D images into one of volumes, slice by slice along the last axis.

    With windows that are one voxel thick (``patch=(*patch, 1)``, ``stride=(*stride, 1)``), a batch of the sliding
    window is a batch of slices, and its slabs are usually single slices.

    Args:
        predict: takes ``[B, channels, X, Y]``; the predictor that is returned takes ``[B, channels, X, Y, Z]``.
    """

    def predict_volumes(volume: Tensor) -> Tensor:
        slices = volume.movedim(-1, 1)
        predicted = predict(slices.flatten(0, 1))
        return predicted.reshape(*slices.shape[:2], *predicted.shape[1:]).movedim(1, -1)

    return predict_volumes


def zero_padded(predict: Predictor, patch: Sequence[int]) -> Predictor:
    """Pass only images of ``patch`` voxels to ``predict``: smaller ones are padded with zeros, and cropped again.

    If the number of missing voxels is odd, the larger half is added at the end of the axis.
    """

    def predict_padded(image: Tensor) -> Tensor:
        sides = image.shape[2:]
        missing = [max(wanted - side, 0) for wanted, side in zip(patch, sides, strict=True)]
        margins = [margin for total in reversed(missing) for margin in (total // 2, total - total // 2)]
        inside = [slice(total // 2, total // 2 + side) for total, side in zip(missing, sides, strict=True)]
        return predict(F.pad(image, margins))[:, :, *inside]

    return predict_padded
