"""Losses of whole regions."""

from __future__ import annotations

from torch import Tensor


def squared_dice_loss(probabilities: Tensor, target: Tensor, smooth: float = 1e-5) -> Tensor:
    """Dice loss of each class with squared terms below the line, batch and space taken together.

    1 - (2 sum(p t) + smooth) / (sum(p^2) + sum(t^2) + smooth), the form of UA-MT, MTCL and PLIL.
    To leave voxels out, set both arguments to 0 there: masking only one of them biases the loss.

    Args:
        probabilities: ``[B, C, *spatial]`` in 0..1.
        target: ``[B, C, *spatial]`` in 0..1, one-hot or soft.
        smooth: added above and below the line; an empty class that is predicted empty costs 0.

    Returns:
        ``[C]``, in 0..1.
    """
    dims = [0, *range(2, probabilities.ndim)]
    overlap = (probabilities * target).sum(dims)
    total = probabilities.square().sum(dims) + target.square().sum(dims)
    return 1 - (2 * overlap + smooth) / (total + smooth)
