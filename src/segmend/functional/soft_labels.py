"""Labels as one map for each class: one-hot, smoothed, between two labels, or sharpened."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segmend.core.masks import IGNORE


def one_hot(label: Tensor, classes: int) -> Tensor:
    """One map per class: ``[B, *spatial]`` to float32 ``[B, C, *spatial]``; ``IGNORE`` is zero in all of them."""
    values = torch.arange(classes, device=label.device).view(1, -1, *[1] * (label.ndim - 1))
    return (label.unsqueeze(1) == values).float()


def interpolate_labels(label: Tensor, other: Tensor, share: float | Tensor, classes: int) -> Tensor:
    """Soft labels between two hard ones: (1 - share) one_hot(label) + share one_hot(other).

    Args:
        label: ``[B, *spatial]`` class indices or ``IGNORE``.
        other: the same, with ``IGNORE`` in the same places.
        share: 0..1; one number, or ``[B, *spatial]``.
        classes: C.

    Returns:
        ``[B, C, *spatial]`` float32, summing to 1, or 0 in all classes where the label is ``IGNORE``.
    """
    weight = share.unsqueeze(1) if isinstance(share, Tensor) else share
    return torch.lerp(one_hot(label, classes), one_hot(other, classes), weight)


def evenly_smoothed(label: Tensor, classes: int, share: float) -> Tensor:
    """Label smoothing: (1 - share) one_hot(label) + share / C.

    Args:
        label: ``[B, *spatial]`` class indices or ``IGNORE``.
        classes: C.
        share: 0..1.

    Returns:
        ``[B, C, *spatial]`` float32, summing to 1, or 0 in all classes where the label is ``IGNORE``.
    """
    known = (label != IGNORE).unsqueeze(1)
    return ((1 - share) * one_hot(label, classes) + share / classes) * known


def smoothed_at_borders(label: Tensor, classes: int, sigma: float) -> Tensor:
    """Spatially varying label smoothing (Islam & Glocker, IPMI 2021): half the label, half its neighbours' mean.

    Each of the 8 neighbours (26 in 3D) is weighted by a Gaussian of its distance. Inside objects nothing changes, and
    at borders a voxel keeps at least half of its own class. Labels at the edge of the image are continued beyond it.

    Args:
        label: ``[B, *spatial]`` class indices or ``IGNORE``.
        classes: C.
        sigma: of the Gaussian, in voxels, above 0.

    Returns:
        ``[B, C, *spatial]`` float32, summing to 1, or 0 in all classes where the label is ``IGNORE``. Neighbours
        without a label do not count.
    """
    own = one_hot(label, classes)
    side = math.exp(-0.5 / sigma**2)
    around = own
    for axis in range(2, own.ndim):
        last = own.shape[axis] - 1
        before = torch.cat([around.narrow(axis, 0, 1), around.narrow(axis, 0, last)], axis)
        behind = torch.cat([around.narrow(axis, 1, last), around.narrow(axis, last, 1)], axis)
        around = around + side * (before + behind)
    neighbours = (1 + 2 * side) ** (own.ndim - 2) - 1
    smoothed = own + (around - own) / neighbours
    known = (label != IGNORE).unsqueeze(1)
    return smoothed / smoothed.sum(1, keepdim=True).where(known, 1) * known


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """p_c^(1/T) / sum_c' p_c'^(1/T): sharper for T < 1, unchanged for T = 1 (MixMatch, Eq. 7).

    Args:
        probabilities: ``[B, C, *spatial]``, summing to 1.
        temperature: T, > 0.
    """
    return (probabilities.log() / temperature).softmax(1)


def renormalised(probabilities: Tensor, least: float = 0.5) -> Tensor:
    """Soft labels relative to their sum over the classes, as needed after interpolation.

    Args:
        probabilities: ``[B, C, *spatial]``, >= 0, summing to at most about 1.
        least: where the sum is below, too little is known: 0 in all classes.

    Returns:
        ``[B, C, *spatial]``, summing to 1 over the classes or to 0.
    """
    total = probabilities.sum(1, keepdim=True)
    known = total >= least
    return probabilities / total.where(known, 1) * known
