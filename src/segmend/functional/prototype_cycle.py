"""Segmentation of one group of samples by the class prototypes of another, in both directions (CPCL)."""

from __future__ import annotations

from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.consistency import squared_difference
from segmend.functional.prototypes import class_prototypes, cosine_similarities
from segmend.functional.reduce import masked_mean
from segmend.functional.voxel import cross_entropy, one_hot

_SHARPNESS = 20.0
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
