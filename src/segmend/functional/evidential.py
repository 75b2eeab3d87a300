"""Logits as evidence for each class: a Dirichlet distribution over the possible probabilities."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from segmend.functional.voxel import one_hot


def dirichlet(logits: Tensor) -> Tensor:
    """Parameters of the distribution: softplus(logits), the evidence, plus 1.

    Args:
        logits: ``[B, C, *spatial]``.

    Returns:
        ``[B, C, *spatial]`` float32, >= 1. Divided by their sum they are the mean probabilities.
    """
    return F.softplus(logits.float()) + 1


def vacuity(alpha: Tensor) -> Tensor:
    """How little evidence there is: C / sum_c alpha_c, 1 where there is none.

    Args:
        alpha: ``[B, C, *spatial]``, >= 1.

    Returns:
        ``[B, *spatial]``, above 0, to 1.
    """
    return alpha.shape[1] / alpha.sum(1)


def expected_cross_entropy(alpha: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy over the distribution: digamma(sum_c alpha_c) - digamma(alpha_y).

    Args:
        alpha: ``[B, C, *spatial]`` float32, >= 1.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.

    Returns:
        Loss map ``[B, *spatial]``, >= 0.
    """
    log_ratio = alpha.sum(1, keepdim=True).digamma() - alpha.digamma()
    return (one_hot(label, alpha.shape[1]) * log_ratio).sum(1)


def misleading_evidence(alpha: Tensor, label: Tensor) -> Tensor:
    """KL divergence from the uniform Dirichlet distribution after the evidence for the label is removed.

    Args:
        alpha: ``[B, C, *spatial]`` float32, >= 1.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.

    Returns:
        Loss map ``[B, *spatial]``, >= 0; 0 where there is no evidence for any other class.
    """
    classes = alpha.shape[1]
    own = one_hot(label, classes)
    known = own.sum(1)
    # Where nothing is known it is 1 for all classes, so the divergence is 0.
    others = 1 + (1 - own) * (alpha - 1) * known.unsqueeze(1)
    total = others.sum(1)
    expected = ((others - 1) * (others.digamma() - total.digamma().unsqueeze(1))).sum(1)
    return total.lgamma() - others.lgamma().sum(1) - math.lgamma(classes) + expected
