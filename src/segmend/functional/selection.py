"""Which samples or voxels a small loss speaks for."""

from __future__ import annotations

import torch
from torch import Tensor


def smallest(losses: Tensor, count: int) -> Tensor:
    """The entries with the smallest losses: deterministic, the earlier of two equal ones first.

    Args:
        losses: ``[N]``.
        count: how many, 0..N.

    Returns:
        Boolean ``[N]`` with exactly ``count`` true entries.
    """
    chosen = torch.zeros_like(losses, dtype=torch.bool)
    chosen[losses.detach().argsort(stable=True)[:count]] = True
    return chosen
