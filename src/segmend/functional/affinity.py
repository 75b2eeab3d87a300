"""Labels of neighbouring frames evaluated by their features: MS-TFAL (Cui et al., MICCAI 2023).

A frame is an image of a sequence: of a video, or a slice of a volume.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segmend.core.masks import IGNORE
from segmend.functional.ramps import linear_ramp
from segmend.functional.soft_labels import one_hot


def affinities(features: Tensor, label: Tensor, next_features: Tensor, next_label: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosine of each voxel's feature to those of the next frame, with the same label and with another one.

    Since the mean of products with unit vectors is the product with their mean, no matrix of all pairs is needed.

    Args:
        features: ``[L, *spatial]`` of a frame.
        label: ``[*spatial]`` class indices or ``IGNORE``.
        next_features: of the next frame, of the same shape.
        next_label: the same.

    Returns:
        Positive and negative affinity, two of ``[*spatial]`` in -1..1; NaN where there is no label, or no voxel to
        compare with.
    """
    unit, other = (F.normalize(each.float(), dim=0).flatten(1) for each in (features, next_features))
    known = torch.cat([label[label != IGNORE], next_label[next_label != IGNORE]])
    classes = int(known.max()) + 1 if known.numel() else 1
    own, theirs = (one_hot(each.long().unsqueeze(0), classes)[0].flatten(1) for each in (label, next_label))
    sums, counts = other @ theirs.T, theirs.sum(1)
    same = (unit.T @ sums / counts).T
    different = (unit.T @ (sums.sum(1, keepdim=True) - sums) / (counts.sum() - counts)).T
    # Both are NaN or infinite for a class without voxels to compare with, which selecting by label leaves out.
    index = label.long().where(label != IGNORE, 0).flatten().unsqueeze(0)
    blank = own.sum(0) == 0
    found = (each.gather(0, index)[0].masked_fill(blank, torch.nan) for each in (same, different))
    positive, negative = (each.where(each.isfinite(), torch.nan).view(label.shape) for each in found)
    return positive, negative


def rank_weights(reliabilities: Sequence[float], lowest: float = 0.4) -> list[float]:
    """Weights of sequences by the rank of their reliability: lowest in the last third, then linear, 1 in the first.

    Args:
        reliabilities: one of each sequence; NaN, for those without any, weighs 1, and so does a single one. Equal ones
            weigh the same.
        lowest: weight of the least reliable.
    """
    ranked = sorted(each for each in reliabilities if not math.isnan(each))

    def weight(reliability: float) -> float:
        if math.isnan(reliability) or len(ranked) < 2:
            return 1.0
        rank = (bisect_left(ranked, reliability) + bisect_right(ranked, reliability) - 1) / 2
        return lowest + (1 - lowest) * linear_ramp(rank / (len(ranked) - 1), 1 / 3, 2 / 3)

    return [weight(each) for each in reliabilities]


def unreliable_voxels(positive: Tensor, negative: Tensor, share: float = 0.3) -> Tensor:
    """Voxels with a low positive and a high negative affinity.

    Args:
        positive: ``[*spatial]`` of a frame, NaN where undefined.
        negative: the same.
        share: fraction that counts as low, and as high.

    Returns:
        Boolean ``[*spatial]``: at most that fraction but for ties; none where either is undefined.
    """
    defined = ~(positive.isnan() | negative.isnan())
    count = int(share * defined.sum())
    if not count:
        return torch.zeros_like(defined)
    least = positive[defined].kthvalue(count).values
    most = -(-negative[defined]).kthvalue(count).values
    return defined & (positive <= least) & (negative >= most)
