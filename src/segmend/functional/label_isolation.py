"""Which voxels of a label class prototypes confirm (PLIL, Xu et al., MICCAI 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segmend.functional.prototypes import (
    agrees_with_nearest_prototype,
    class_prototypes,
    majority,
    squared_distances,
)
from segmend.functional.soft_labels import one_hot
from segmend.functional.uncertainty import normalised_entropy, spread_of_halved_logits

LEAST_WEIGHT = 1.0
"""A prototype needs at least this sum of probabilities, about one confident voxel, to be meaningful."""


def prototype_weights(logits: Tensor, uncertainty: Literal["entropy", "spread"], threshold: float) -> Tensor:
    """Weight of each voxel in the prototype of each class: its probability where it is confident, 0 elsewhere (Eq. 2).

    A class whose confident voxels have a total probability below ``LEAST_WEIGHT`` takes all voxels predicted as it.

    Args:
        logits: of stochastic passes, ``[K, B, C, *spatial]`` float32.
        uncertainty: 'entropy' of the mean prediction, 0..1, or 'spread' of the passes around the first one, channel by
            channel, where voxels that are uncertain in all channels become background (public code).
        threshold: voxels with less uncertainty are confident.

    Returns:
        ``[B, C, *spatial]``, 0..1.
    """
    classes = logits.shape[2]
    if uncertainty == "entropy":
        predicted = logits.softmax(2).mean(0)
        own_class = one_hot(predicted.argmax(1), classes)
        confident = own_class * (normalised_entropy(predicted) < threshold).unsqueeze(1)
    else:
        predicted = logits[0].softmax(1)
        own_class = one_hot(predicted.argmax(1), classes)
        sure = predicted * (spread_of_halved_logits(logits) < threshold)
        confident = one_hot(sure.argmax(1), classes)
    enough = (confident * predicted).flatten(2).sum(2) >= LEAST_WEIGHT
    return torch.where(_over_voxels(enough, confident), confident, own_class) * predicted


def confirmed_by_prototypes(scales: Sequence[Tensor], weights: Tensor, label: Tensor) -> Tensor:
    """Voxels whose labelled class has strictly the nearest prototype at more than half of the scales (Eqs. 3 and 4).

    Args:
        scales: features ``[B, L, *coarse]`` of each decoder scale.
        weights: ``[B, C, *spatial]``, of ``prototype_weights``.
        label: ``[B, *spatial]`` class indices or ``IGNORE``.

    Returns:
        Boolean ``[B, *spatial]``; False throughout a sample in which fewer than two classes were found.
    """
    found = weights.flatten(2).sum(2) >= LEAST_WEIGHT
    votes = []
    for features in scales:
        distances = squared_distances(features, class_prototypes(features, weights), label.shape[1:])
        distances = distances.masked_fill(~_over_voxels(found, distances), torch.inf)
        votes.append(agrees_with_nearest_prototype(distances, label))
    return majority(votes) & _over_voxels(found.sum(1) >= 2, label)


def _over_voxels(flags: Tensor, like: Tensor) -> Tensor:
    """``[B]`` or ``[B, C]`` flags in a shape that broadcasts over the voxels of ``like``."""
    return flags.view(*flags.shape, *[1] * (like.ndim - flags.ndim))
