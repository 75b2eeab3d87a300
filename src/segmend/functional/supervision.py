"""The supervised loss that the left-atrium methods share."""

from __future__ import annotations

from torch import Tensor

from segmend.functional.reduce import masked_mean
from segmend.functional.region import squared_dice_loss
from segmend.functional.voxel import IGNORE, cross_entropy, one_hot


def cross_entropy_dice(
    logits: Tensor, label: Tensor, mask: Tensor | None = None, *, mask_dice_target: bool = True
) -> Tensor:
    """Half the mean cross-entropy plus half the squared Dice loss, averaged over all classes.

    The supervised loss of PLIL, and with a mask its clean-voxel loss (Xu et al., MICCAI 2023, Eq. 5).
    Everything is computed in float32. A mask that is empty gives 0.

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices; voxels with ``IGNORE`` are left out.
        mask: ``[B, *spatial]`` boolean: the voxels that count. All by default.
        mask_dice_target: leave masked-out voxels out of the Dice target too. PLIL's public code does
            not: there they become background in the target only, so that the background term cannot reach 0.

    Returns:
        Scalar, >= 0.
    """
    known = label != IGNORE
    mask = known if mask is None else mask & known
    counted = mask.unsqueeze(1)
    probabilities = logits.float().softmax(1) * counted
    if mask_dice_target:
        target = one_hot(label, logits.shape[1]) * counted
    else:
        target = one_hot(label.masked_fill(~mask, 0), logits.shape[1])
    dice = squared_dice_loss(probabilities, target).mean()
    return 0.5 * (masked_mean(cross_entropy(logits, label), mask) + dice)
