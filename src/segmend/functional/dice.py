"""Dice losses of whole classes or regions, and the supervised losses of cross-entropy and Dice together.

Two masks that are both empty agree: each loss is 0 there, and ``label_dice`` is 1, as is ``metrics.overlap.dice``.
Within ``functional.regions.dice_by_region``, "class" means the background and each region.
"""

from __future__ import annotations

from torch import Tensor

from segmend.core.masks import DICE_OF_NOTHING, IGNORE
from segmend.functional.class_sets import counted
from segmend.functional.losses import cross_entropy, soft_cross_entropy
from segmend.functional.regions import by_region
from segmend.functional.soft_labels import one_hot
from segmend.functional.weighting import masked_mean


def squared_dice_loss(probabilities: Tensor, target: Tensor, smooth: float = 1e-5) -> Tensor:
    """Dice loss of each class with squared terms in the denominator, summed over batch and space.

    1 - (2 sum(p t) + smooth) / (sum(p^2) + sum(t^2) + smooth), the form of UA-MT, MTCL and PLIL.
    To leave voxels out, set both arguments to 0 there: masking only one of them biases the loss.

    Args:
        probabilities: ``[B, C, *spatial]`` in 0..1.
        target: ``[B, C, *spatial]`` in 0..1, one-hot or soft.
        smooth: added above and below the line; an empty class that is predicted empty costs 0.

    Returns:
        ``[C]``, in 0..1.
    """
    probabilities, target = by_region(probabilities), by_region(target)
    dims = [0, *range(2, probabilities.ndim)]
    overlap = (probabilities * target).sum(dims)
    total = probabilities.square().sum(dims) + target.square().sum(dims)
    return 1 - (2 * overlap + smooth) / (total + smooth)


def noise_robust_dice_loss(probabilities: Tensor, target: Tensor, gamma: float = 1.5, smooth: float = 1e-5) -> Tensor:
    """Dice loss of each class that is less sensitive to a few large errors, summed over batch and space.

    sum |p - t|^gamma / (sum(p^2) + sum(t^2) + smooth) (Wang et al., IEEE TMI 2020). For gamma = 2 it is the squared
    Dice loss up to the smoothing, for 1 a normalised mean absolute error. To leave voxels out, set both arguments to 0
    there.

    Args:
        probabilities: ``[B, C, *spatial]`` in 0..1.
        target: ``[B, C, *spatial]`` in 0..1, one-hot or soft.
        gamma: 1..2.
        smooth: added to the denominator; an empty class that is predicted empty costs 0.

    Returns:
        ``[C]``, >= 0.
    """
    probabilities, target = by_region(probabilities), by_region(target)
    dims = [0, *range(2, probabilities.ndim)]
    total = probabilities.square().sum(dims) + target.square().sum(dims)
    return (probabilities - target).abs().pow(gamma).sum(dims) / (total + smooth)


def dice_loss_by_sample(probabilities: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Dice loss of each class in each sample, in the plain form.

    1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth), as in AIDE (Eq. 1). To leave voxels out, set both
    arguments to 0 there.

    Args:
        probabilities: ``[B, C, *spatial]`` in 0..1.
        target: ``[B, C, *spatial]`` in 0..1, one-hot or soft.
        smooth: added above and below the line; an empty class that is predicted empty costs 0.

    Returns:
        ``[B, C]``, in 0..1.
    """
    probabilities, target = by_region(probabilities), by_region(target)
    overlap = (probabilities * target).flatten(2).sum(2)
    total = probabilities.flatten(2).sum(2) + target.flatten(2).sum(2)
    return 1 - (2 * overlap + smooth) / (total + smooth)


def label_dice(prediction: Tensor, reference: Tensor) -> float:
    """Mean Dice coefficient of the objects in two labels of one scan, 0..1; 1 if there are none in either.

    Args:
        prediction: ``[*spatial]`` class indices.
        reference: ``[*spatial]`` class indices; where it is ``IGNORE``, both labels are ignored.

    Returns:
        Mean over the classes other than 0 that are found in one of them.
    """
    known = reference != IGNORE
    predicted, true = prediction[known], reference[known]
    shared = predicted[predicted == true].bincount(minlength=IGNORE)[1:]
    total = (predicted.bincount(minlength=IGNORE) + true.bincount(minlength=IGNORE))[1:]
    found = total > 0
    return (2 * shared[found] / total[found]).mean().item() if found.any() else DICE_OF_NOTHING


def cross_entropy_dice(
    logits: Tensor, label: Tensor, mask: Tensor | None = None, *, mask_dice_target: bool = True
) -> Tensor:
    """Half the mean cross-entropy plus half the squared Dice loss, averaged over all classes.

    The supervised loss that the left-atrium methods share, and with a mask PLIL's clean-voxel loss (Xu et al.,
    MICCAI 2023, Eq. 5). Everything is computed in float32. A mask that is empty gives 0.

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices, or sets of them; voxels with ``IGNORE`` are left out.
        mask: ``[B, *spatial]`` boolean: the voxels that count. All by default.
        mask_dice_target: leave masked-out voxels out of the Dice target too. PLIL's public code does
            not: there they become background in the target only, so that the background term cannot reach 0.

    Returns:
        Scalar, >= 0.
    """
    known, of_class = label != IGNORE, counted(label, logits.shape[1])
    mask = known if mask is None else mask & known
    of_class = of_class & mask.unsqueeze(1)
    probabilities = logits.float().softmax(1) * of_class
    if mask_dice_target:
        target = one_hot(label, logits.shape[1]) * of_class
    else:
        target = one_hot(label.masked_fill(~mask, 0), logits.shape[1])
    dice = squared_dice_loss(probabilities, target).mean()
    return 0.5 * (masked_mean(cross_entropy(logits, label), mask) + dice)


def foreground_dice(logits: Tensor, label: Tensor, *, squared: bool = True) -> Tensor:
    """Dice loss averaged over all classes but the background, in float32.

    The supervised loss of DTC and SASSNet, and in the plain form that of MC-Net. Sums go over the whole batch.

    Args:
        logits: ``[B, C, *spatial]``.
        label: ``[B, *spatial]`` class indices; voxels with ``IGNORE`` are left out.
        squared: the form of ``squared_dice_loss``; False takes 1 - 2 sum(p t) / (sum(p) + sum(t)), where a class that
            is in no label costs nearly 1 until it is not predicted at all.

    Returns:
        Scalar, in 0..1.
    """
    maps = logits.float().softmax(1) * counted(label, logits.shape[1])
    target = one_hot(label, logits.shape[1])
    if squared:
        return squared_dice_loss(maps, target)[1:].mean()
    of_batch = [each.movedim(1, 0).flatten(1).unsqueeze(0) for each in (maps, target)]
    return dice_loss_by_sample(of_batch[0], of_batch[1], smooth=1e-8)[:, 1:].mean()


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
    probabilities = logits.float().softmax(1) * counted(label, logits.shape[1])
    dice = dice_loss_by_sample(probabilities, one_hot(label, logits.shape[1]))[:, 1:].mean(1)
    return dice + alpha * cross_entropy(logits, label).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
