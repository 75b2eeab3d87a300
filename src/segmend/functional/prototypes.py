"""Class prototypes in feature space, and labels evaluated by them.

Features may lie on a coarser grid than the labels: all results are the same as if they were upsampled linearly first.
Since prototypes and projections are linear in the features, only maps of one channel per class are ever brought to the
fine grid, never the features themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segmend.core.masks import IGNORE
from segmend.functional.upsampling import upsample, upsample_transposed


def class_prototypes(features: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean feature of each class in each item: sum_v w_c(v) e(v) / sum_v w_c(v).

    Args:
        features: ``[B, L, *coarse]``.
        weights: ``[B, C, *spatial]``, >= 0; mask times probability in PLIL (Eq. 2).

    Returns:
        ``[B, C, L]``; the zero vector for a class without weight.
    """
    total = weights.flatten(2).sum(2, keepdim=True)
    on_features = upsample_transposed(weights, features.shape[2:])
    return torch.einsum("bcn,bln->bcl", on_features.flatten(2), features.flatten(2).float()) / (total + 1e-5)


def squared_distances(features: Tensor, prototypes: Tensor, size: Sequence[int]) -> Tensor:
    """Squared Euclidean distance of every voxel to every prototype, up to a term shared by all of them.

    |e|^2 is left out: it is the same for all prototypes and so does not change which is nearest.

    Args:
        features: ``[B, L, *coarse]``.
        prototypes: ``[B, C, L]``.
        size: the grid of the result.

    Returns:
        ``[B, C, *size]``: |q|^2 - 2 <e, q>.
    """
    projections = torch.einsum("bcl,bln->bcn", prototypes, features.flatten(2).float())
    projections = projections.view(*prototypes.shape[:2], *features.shape[2:])
    norms = prototypes.square().sum(2)
    return norms.view(*norms.shape, *[1] * len(size)) - 2 * upsample(projections, size)


def cosine_similarities(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine of the angle between every feature and every prototype.

    Unlike the other functions here it is not linear in the features: bring them to the fine grid first.

    Args:
        features: ``[B, L, *spatial]``.
        prototypes: ``[B, C, L]``, or ``[1, C, L]`` for all items.

    Returns:
        ``[B, C, *spatial]``, in -1..1; 0 where a vector is zero.
    """
    # Features much shorter than this count as zero: their direction is meaningless and its gradient explodes.
    units = F.normalize(features.float().flatten(2), dim=1, eps=1e-4)
    cosines = torch.einsum("bcl,bln->bcn", F.normalize(prototypes, dim=2, eps=1e-8).expand(len(units), -1, -1), units)
    return cosines.view(*cosines.shape[:2], *features.shape[2:])


def agrees_with_nearest_prototype(distances: Tensor, label: Tensor) -> Tensor:
    """True where the labelled class is strictly nearer than every other class.

    A tie supports neither class, so it counts as disagreement. With two classes this is PLIL's isolation rule (Eq. 4);
    with more, its generalisation.

    Args:
        distances: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` never agrees.

    Returns:
        Boolean ``[B, *spatial]``.
    """
    known = label != IGNORE
    index = label.where(known, 0).unsqueeze(1)
    own = distances.gather(1, index)
    others = distances.scatter(1, index, torch.inf).amin(1, keepdim=True)
    return (own < others).squeeze(1) & known


def majority(votes: Sequence[Tensor]) -> Tensor:
    """True where more than half of the boolean maps are true (in PLIL, two of three scales)."""
    return torch.stack(tuple(votes)).sum(0) * 2 > len(votes)
