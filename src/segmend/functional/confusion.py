"""Confusion matrices between what is there and what an annotator draws."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.masks import IGNORE


def confused_cross_entropy(log_probabilities: Tensor, log_confusion: Tensor, label: Tensor) -> Tensor:
    r"""-log (A p)_y: cross-entropy of drawn labels, if drawing confuses the true classes (Zhang et al., NeurIPS 2020).

    Args:
        log_probabilities: log p of the true classes, ``[B, C, *spatial]`` float32, from log-softmax.
        log_confusion: log A of each sample, ``[B, C, C]``: drawn classes along the first axis, true ones along the
            second; each column of A sums to 1.
        label: y, ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.

    Returns:
        Loss map ``[B, *spatial]``, >= 0.
    """
    known = label != IGNORE
    drawn = label.where(known, 0)
    samples = torch.arange(len(label), device=label.device).view(-1, *[1] * (label.ndim - 1))
    rows = log_confusion[samples, drawn].movedim(-1, 1)
    return -(rows + log_probabilities).logsumexp(1) * known
