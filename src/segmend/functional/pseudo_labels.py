"""Soft labels from a network's own predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from segmend.functional.geometry import Warp


def mean_over_warps(logits_of: Callable[[Tensor], Tensor], image: Tensor, warps: Sequence[Warp]) -> Tensor:
    """Mean probabilities of an image over warped copies of it, in the image's own frame.

    Voxels that a warp brings into the copy from outside have the minimum intensity of their sample and channel. Logits
    are warped back before the softmax, so where a copy does not show a voxel, it supports all classes equally.

    Args:
        logits_of: a network.
        image: ``[B, channels, *spatial]``.
        warps: one for each copy.

    Returns:
        ``[B, C, *spatial]`` float32, summing to 1.
    """
    darkest = image.amin(tuple(range(2, image.ndim)), keepdim=True)
    predictions = []
    for warp in warps:
        logits = logits_of(warp(image - darkest) + darkest).float()
        predictions.append(warp.inverse()(logits).softmax(1))
    return torch.stack(predictions).mean(0)


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """p_c^(1/T) / sum_c' p_c'^(1/T): sharper for T < 1, unchanged for T = 1 (MixMatch, Eq. 7).

    Args:
        probabilities: ``[B, C, *spatial]``, summing to 1.
        temperature: T, > 0.
    """
    return (probabilities.log() / temperature).softmax(1)
