"""Prototypes of classes and regions in feature space, and labels evaluated by them.

Features may lie on a coarser grid than the labels: ``class_prototypes`` and ``squared_distances`` give the same as if
the features were upsampled linearly first. Since both are linear in the features, only maps of one channel per class
are ever brought to the fine grid, never the features themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segmend.core.masks import IGNORE
from segmend.functional.consistency import squared_difference
from segmend.functional.losses import cross_entropy
from segmend.functional.resampling import upsample, upsample_transposed
from segmend.functional.soft_labels import one_hot
from segmend.functional.weighting import masked_mean


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


_SHARPNESS = 20.0
"""Factor of the cosines in the scores of CPCL."""

_OUT_OF_REACH = -1e4
"""Score of a class without a prototype: finite, so that nothing becomes NaN if no class has one."""


def prototype_scores(features: Tensor, source: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of every voxel for every class, 20 times the cosine to the class's prototype.

    A prototype is the weighted mean feature of a class in all samples of the source together.

    Args:
        features: ``[B, L, *spatial]``.
        source: ``[B', L, *spatial]``, the features that prototypes are computed from.
        weights: ``[B', C, *spatial]``, >= 0.

    Returns:
        Logits ``[B, C, *spatial]``, far below all others for a class without weight, and the classes with weight,
        boolean ``[C]``.
    """
    pooled_source, pooled_weights = (maps.transpose(0, 1).unsqueeze(0) for maps in (source, weights))
    scores = _SHARPNESS * cosine_similarities(features, class_prototypes(pooled_source, pooled_weights))
    found = pooled_weights.flatten(2).any(2).squeeze(0)
    return scores.masked_fill(~found.view(1, -1, *[1] * (scores.ndim - 2)), _OUT_OF_REACH), found


def forward_loss(labelled: Tensor, label: Tensor, certainty: Tensor, unlabelled: Tensor, target: Tensor) -> Tensor:
    """From labelled to unlabelled samples: squared difference of the prototypes' segmentation to the target.

    Args:
        labelled: features ``[B, L, *spatial]``.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` is excluded from the prototypes.
        certainty: probabilities ``[B, C, *spatial]`` that weight the labelled voxels.
        unlabelled: features ``[B', L, *spatial]``.
        target: probabilities ``[B', C, *spatial]``.

    Returns:
        Loss map ``[B', *spatial]``.
    """
    scores, _ = prototype_scores(unlabelled, labelled, one_hot(label, certainty.shape[1]) * certainty)
    return squared_difference(scores.softmax(1), target)


def backward_loss(unlabelled: Tensor, certainty: Tensor, labelled: Tensor, label: Tensor) -> Tensor:
    """From unlabelled to labelled samples: negative log-likelihood of the label by the prototypes' segmentation.

    Args:
        unlabelled: features ``[B', L, *spatial]``.
        certainty: probabilities ``[B', C, *spatial]``, whose largest class is the label of the voxel.
        labelled: features ``[B, L, *spatial]``.
        label: ``[B, *spatial]`` class indices; voxels of classes that were not found are left out.

    Returns:
        Scalar mean, 0 if nothing is left.
    """
    classes = certainty.shape[1]
    scores, found = prototype_scores(labelled, unlabelled, one_hot(certainty.argmax(1), classes) * certainty)
    known = label != IGNORE
    known = known & found[label.where(known, 0)]
    return masked_mean(cross_entropy(scores, label.masked_fill(~known, IGNORE)), known)


def cell_features(features: Tensor, region: Tensor, cells: int) -> Tensor:
    """Mean feature of the region's voxels in each cell of a grid (Dong et al., Eq. 4).

    Args:
        features: ``[L, *spatial]``.
        region: boolean ``[*spatial]``, not empty.
        cells: of the grid along every axis; with fewer voxels than that, each has its own cell.

    Returns:
        ``[M, L]``: a row for each cell that the region reaches, in the order of the grid.
    """
    cell = torch.zeros(region.shape, dtype=torch.long, device=region.device)
    for axis, side in enumerate(region.shape):
        along = torch.arange(side, device=region.device) * cells // side
        cell = cell * cells + along.view(-1, *[1] * (region.ndim - axis - 1))
    place, inside = cell[region], features[:, region].T
    counts = place.bincount(minlength=cells**region.ndim)
    sums = inside.new_zeros(len(counts), len(features)).index_add_(0, place, inside)
    reached = counts > 0
    return sums[reached] / counts[reached].unsqueeze(1)


def representation(features: Tensor) -> Tensor:
    """How well each feature represents all features: the sum of its cosines to each of them, itself included (Eq. 5).

    Args:
        features: ``[M, L]``.

    Returns:
        ``[M]``, at most M.
    """
    units = F.normalize(features, dim=1)
    return units @ units.sum(0)  # the sum of the cosines is one product; no M x M matrix is needed


def mean_cosine(features: Tensor, prototypes: Tensor) -> Tensor:
    """Mean over the prototypes of their cosine to the feature of each voxel (Eq. 6).

    Args:
        features: ``[L, *spatial]``.
        prototypes: ``[M, L]``, at least one.

    Returns:
        ``[*spatial]``, in -1..1.
    """
    mean = F.normalize(prototypes, dim=1).mean(0)
    return torch.einsum("l...,l->...", F.normalize(features, dim=0), mean)


def prototype_similarity(features: Tensor, region: Tensor, cells: int, threshold: float) -> Tensor:
    """How similar each voxel is to the representative cells of a region.

    A cell is representative if its representation is at least ``threshold`` times the highest one.

    Args:
        features: ``[L, *spatial]``.
        region: boolean ``[*spatial]``; no voxel is similar to an empty one.
        cells: of the grid along every axis; with one cell, the mean feature is the only prototype.
        threshold: sigma, 0..1.

    Returns:
        ``[*spatial]``, in -1..1.
    """
    if not region.any():
        return features.new_zeros(region.shape)
    found = cell_features(features, region, cells)
    degree = representation(found)
    return mean_cosine(features, found[degree >= threshold * degree.max()])
