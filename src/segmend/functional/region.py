"""Losses and overlaps of whole regions."""

from __future__ import annotations

from torch import Tensor

from segmend.core.masks import IGNORE


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
    return (2 * shared[found] / total[found]).mean().item() if found.any() else 1.0
