"""Supervised losses of cross-entropy and Dice together."""

from __future__ import annotations

from torch import Tensor

from segmend.core.masks import IGNORE
from segmend.functional.reduce import masked_mean
from segmend.functional.region import dice_loss_by_sample, squared_dice_loss
from segmend.functional.voxel import cross_entropy, one_hot, soft_cross_entropy


def cross_entropy_dice(
    logits: Tensor, label: Tensor, mask: Tensor | None = None, *, mask_dice_target: bool = True
) -> Tensor:
    """Half the mean cross-entropy plus half the squared Dice loss, averaged over all classes.

    The supervised loss that the left-atrium methods share, and with a mask PLIL's clean-voxel loss (Xu et al.,
    MICCAI 2023, Eq. 5). Everything is computed in float32. A mask that is empty gives 0.

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


def soft_cross_entropy_dice(logits: Tensor, target: Tensor) -> Tensor:
    """The same loss for soft labels; equal to ``cross_entropy_dice`` if they are one-hot.

    Args:
        logits: ``[B, C, *spatial]``.
        target: ``[B, C, *spatial]``, summing to 1 over the classes, or 0 in all of them where nothing is known.

    Returns:
        Scalar, >= 0.
    """
    known = target.sum(1) > 0
    dice = squared_dice_loss(logits.float().softmax(1) * known.unsqueeze(1), target).mean()
    return 0.5 * (masked_mean(soft_cross_entropy(logits, target), known) + dice)


def dice_cross_entropy_by_sample(logits: Tensor, label: Tensor, alpha: float = 1.0) -> Tensor:
    """Plain Dice loss of the object plus alpha times the mean cross-entropy, for each sample (AIDE, Eq. 1).

    Everything is computed in float32. A sample without any known voxel gives 0.

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices; voxels with ``IGNORE`` are left out.
        alpha: weight of the cross-entropy.

    Returns:
        ``[B]``, >= 0; with several objects, their mean Dice loss counts.
    """
    known = label != IGNORE
    probabilities = logits.float().softmax(1) * known.unsqueeze(1)
    dice = dice_loss_by_sample(probabilities, one_hot(label, logits.shape[1]))[:, 1:].mean(1)
    return dice + alpha * cross_entropy(logits, label).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
