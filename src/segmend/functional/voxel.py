"""Losses and encodings voxel by voxel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = 255
"""Label value of a voxel about which nothing is known; it never contributes to a loss."""


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of every voxel, in float32 from log-softmax.

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.

    Returns:
        Loss map ``[B, *spatial]``, >= 0.
    """
    return F.cross_entropy(logits.float(), label, ignore_index=IGNORE, reduction="none")


def one_hot(label: Tensor, classes: int) -> Tensor:
    """One map per class: ``[B, *spatial]`` to float32 ``[B, C, *spatial]``; ``IGNORE`` is zero in all of them."""
    values = torch.arange(classes, device=label.device).view(1, -1, *[1] * (label.ndim - 1))
    return (label.unsqueeze(1) == values).float()
