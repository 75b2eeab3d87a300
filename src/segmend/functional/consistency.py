"""Differences between two predictions of one image."""

from __future__ import annotations

from torch import Tensor


def squared_difference(first: Tensor, second: Tensor) -> Tensor:
    """Mean over the classes of the squared difference: two ``[B, C, *spatial]`` to ``[B, *spatial]``."""
    return (first - second).square().mean(1)
