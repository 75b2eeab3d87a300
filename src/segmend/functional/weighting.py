"""Weights of voxels and samples in a loss: the mean that they give, and two ways to compute them."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.soft_labels import one_hot


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` is set, and 0 (with zero gradient) if it is set nowhere.

    Args:
        values: any shape.
        mask: same shape or one that broadcasts to it; boolean, or non-negative weights.

    Returns:
        Scalar.
    """
    weights = mask.to(values.dtype).expand_as(values)
    return (values * weights).sum() / weights.sum().clamp(min=1e-16)


def share_of_positive(values: Tensor) -> Tensor:
    """Positive values divided by their sum, the rest 0: weights that sum to 1, or to 0 if no value is positive."""
    positive = values.clamp(min=0)
    return positive / positive.sum().clamp(min=torch.finfo(values.dtype).tiny)


def agreement(logits: Tensor, drift: Tensor, label: Tensor) -> Tensor:
    r"""Inner product of the gradient of each voxel's cross-entropy with a direction of the parameters.

    If the direction is the gradient of a clean loss V, this is how fast V falls when the loss of that voxel
    alone is descended: -dV/d\epsilon_j at \epsilon = 0 for one step of rate 1 on \sum_j \epsilon_j l_j
    (Ren et al., ICML 2018; Mirikharaji et al., DART 2019; MLB-Seg, Eq. 6). The parameters act on l_j through the
    logits alone, where its gradient is softmax minus one-hot, so any number of labels cost one pass.

    Args:
        logits: ``[B, C, *spatial]``.
        drift: derivative of the logits along that direction, same shape.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.

    Returns:
        ``[B, *spatial]``, of either sign, in the dtype of the logits.
    """
    slope = logits.softmax(1) - one_hot(label, logits.shape[1])
    return (slope * drift).sum(1).masked_fill(label == IGNORE, 0)


def bounded_softmax(scores: Tensor, bound: float, counted: Tensor) -> Tensor:
    r"""Softmax of \lambda tanh(score) over the samples that count: the weights of pick-and-learn.

    The bound keeps a batch from being trained on one sample: no weight is more than e^(2 \lambda) times another.

    Args:
        scores: ``[B]``.
        bound: \lambda; 0 weights all equally.
        counted: ``[B]`` boolean.

    Returns:
        ``[B]``: 0 for samples that do not count, the others sum to 1.
    """
    weights = (bound * scores.tanh()).softmax(0) * counted
    return weights / weights.sum().clamp(min=1e-16)
