"""Groups of samples that are known without any label of a voxel."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segmend.core.batch import Batch

MetaLabel = Literal["position", "case"]
"""Where along the last axis of its scan a sample lies, or from which case it is."""


def meta_labels(batch: Batch, kind: MetaLabel, partitions: int) -> Tensor:
    """Number each sample's group.

    Args:
        batch: any. Where positions are unknown, each sample is its own group.
        kind: 'position' or 'case'.
        partitions: equal parts that a scan is divided into by position.

    Returns:
        ``[B]`` int64 on the device of the image.
    """
    positions = batch.slice_positions
    if kind == "case":
        numbers = {name: number for number, name in enumerate(dict.fromkeys(batch.cases))}
        return torch.tensor([numbers[name] for name in batch.cases], device=batch.image.device)
    if positions is None:
        return torch.arange(len(batch.image), device=batch.image.device)
    return (positions * partitions).long().clamp(0, partitions - 1)
