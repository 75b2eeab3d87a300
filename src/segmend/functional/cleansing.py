"""Clean labels by their losses, and new ones from prototypes (deep self-cleansing, Dong et al., arXiv 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.dice import dice_loss_by_sample
from segmend.functional.morphology import without_small_holes, without_small_regions
from segmend.functional.prototypes import prototype_similarity
from segmend.functional.selection import low_losses
from segmend.functional.soft_labels import one_hot

SMOOTH = 1e-5
"""Smoothing term of the Dice losses; it only affects empty masks."""

_DISJOINT = 0.999
"""Dice loss above which two masks hardly overlap."""


def batch_dice_loss(predicted: Tensor, label: Tensor) -> Tensor:
    """Soft Dice loss of the batch as one region, averaged over the foreground classes or regions.

    Args:
        predicted: ``[B, C, *spatial]`` probabilities.
        label: ``[B, *spatial]`` class indices; voxels with ``IGNORE`` are left out.

    Returns:
        Scalar, 0..1.
    """
    known = (label != IGNORE).unsqueeze(1)
    pair = (predicted * known, one_hot(label, predicted.shape[1]))
    prediction, target = (each.movedim(1, 0).flatten(1).unsqueeze(0) for each in pair)
    return dice_loss_by_sample(prediction, target, SMOOTH)[:, 1:].mean()


def clean_labels(given: Tensor, pseudo: Tensor, made: Tensor) -> Tensor:
    """Which labels belong to the component of the smaller losses, class by class.

    Args:
        given: Dice losses of the given labels, ``[images, C - 1]``, 0..1.
        pseudo: those of the cleansed labels.
        made: boolean ``[images]``: whether there is a cleansed label; otherwise it is not clean.

    Returns:
        Boolean ``[2, images, C - 1]``, of given and cleansed labels. A cleansed label that is disjoint from the
        prediction is not clean.
    """
    low_given, low_pseudo = (
        torch.stack([low_losses(of_class) for of_class in losses.T], 1) for losses in (given, pseudo)
    )
    return torch.stack([low_given, low_pseudo & made.unsqueeze(1) & (pseudo < _DISJOINT)])


def redrawn_label(
    probability: Tensor,
    features: Tensor,
    *,
    cells: int,
    representative: float,
    similarity: float,
    centred: bool,
    fragment: float,
    prototypes: bool,
) -> Tensor:
    """Confidence that voxels belong to an object, where its new label is.

    Args:
        probability: of the object, ``[*spatial]``; it is seen where this is above 0.5.
        features: ``[L, *spatial]``.
        cells: of the grid along every axis, see ``prototype_similarity``.
        representative: threshold of the cells, 0..1, see there.
        similarity: of the object's voxels to the prototypes, at least, -1..1.
        centred: subtract the mean feature first.
        fragment: connected regions, and holes, below this fraction of the object are removed.
        prototypes: False makes what is seen the new label.

    Returns:
        ``[*spatial]``; minus infinity outside the new label.
    """
    seen = probability > 0.5
    if not prototypes:
        return probability.where(seen, -torch.inf)
    if centred:
        features = features - features.mean(tuple(range(1, features.ndim)), keepdim=True)
    found = prototype_similarity(features, seen, cells, representative)
    mask = without_small_holes(without_small_regions(found > similarity, fragment), fragment)
    return found.where(mask, -torch.inf)
