"""Voxel-wise losses and encodings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from segmend.core.masks import IGNORE


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy at each voxel, in float32 from log-softmax.

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.

    Returns:
        Loss map ``[B, *spatial]``, >= 0.
    """
    return F.cross_entropy(logits.float(), label, ignore_index=IGNORE, reduction="none")


def probabilities(logits: Tensor) -> Tensor:
    """Class probabilities ``[B, C, *spatial]`` of logits, in float32 whatever the network computes in."""
    return logits.float().softmax(1)


def one_hot(label: Tensor, classes: int) -> Tensor:
    """One map per class: ``[B, *spatial]`` to float32 ``[B, C, *spatial]``; ``IGNORE`` is zero in all of them."""
    values = torch.arange(classes, device=label.device).view(1, -1, *[1] * (label.ndim - 1))
    return (label.unsqueeze(1) == values).float()


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy at each voxel with a distribution over the classes, in float32 from log-softmax.

    Args:
        logits: ``[B, C, *spatial]``.
        target: ``[B, C, *spatial]``, summing to 1 over the classes, or 0 in all of them where nothing is known.

    Returns:
        Loss map ``[B, *spatial]``, >= 0; 0 where nothing is known.
    """
    return -(target * logits.float().log_softmax(1)).sum(1)


def interpolate_labels(label: Tensor, other: Tensor, share: float | Tensor, classes: int) -> Tensor:
    """Soft labels between two hard ones: (1 - share) one_hot(label) + share one_hot(other).

    Args:
        label: ``[B, *spatial]`` class indices or ``IGNORE``.
        other: the same, with ``IGNORE`` in the same places.
        share: 0..1; one number, or ``[B, *spatial]``.
        classes: C.

    Returns:
        ``[B, C, *spatial]`` float32, summing to 1, or 0 in all classes where the label is ``IGNORE``.
    """
    weight = share.unsqueeze(1) if isinstance(share, Tensor) else share
    return torch.lerp(one_hot(label, classes), one_hot(other, classes), weight)
