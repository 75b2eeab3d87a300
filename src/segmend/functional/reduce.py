"""Masked mean."""

from __future__ import annotations

from torch import Tensor


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
