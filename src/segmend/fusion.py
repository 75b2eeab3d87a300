"""Fusion of several annotations of one case into one label. ``IGNORE`` in an annotation is not a vote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from segmend.core.masks import IGNORE, Mask, bounding_box
from segmend.core.regions import mask_of, with_regions

Drawing = NDArray[np.uint8]
"""Class indices ``[*spatial]`` by one rater, ``IGNORE`` where not annotated."""

_MARGIN = 10
"""Voxels around all drawings over which STAPLE is computed; specificity counts the background within."""


@dataclass(frozen=True, slots=True, eq=False)
class Staple:
    """The STAPLE estimate from several masks (Warfield et al., IEEE TMI 2004).

    Attributes:
        probability: of the object, ``[*spatial]``.
        sensitivity: of each rater: fraction of the object that is drawn. NaN if no rater annotated any.
        specificity: of each rater: fraction of the background near all drawings that is left free. NaN in the same
            case.
    """

    probability: NDArray[np.float32]
    sensitivity: tuple[float, ...]
    specificity: tuple[float, ...]


def votes(drawings: Sequence[Drawing], index: int) -> NDArray[np.float32]:
    """Fraction of the annotating raters ``[*spatial]`` that chose a class; the soft mean of their labels.

    Args:
        drawings: one of each rater.
        index: the class.
    """
    speaking = sum((drawing != IGNORE).astype(np.float32) for drawing in drawings)
    choosing = sum((drawing == index).astype(np.float32) for drawing in drawings)
    share: NDArray[np.float32] = choosing / np.maximum(speaking, 1)
    return share


def majority(drawings: Sequence[Drawing], classes: int) -> Drawing:
    """The class with most votes, the first in a tie, so background before all; ``IGNORE`` without votes."""
    return _most(drawings, (votes(drawings, index) for index in range(classes)))


def staple(masks: Sequence[Mask]) -> Staple:
    """Estimate the object behind several masks and the performance of each rater.

    Args:
        masks: ``[*spatial]``, one of each rater, at least two.
    """
    union = np.logical_or.reduce(masks)
    if not union.any():
        unknown = (float("nan"),) * len(masks)
        return Staple(np.zeros(union.shape, np.float32), unknown, unknown)
    box = bounding_box(union, _MARGIN)
    estimate = SimpleITK.STAPLEImageFilter()
    estimate.SetForegroundValue(1)
    images = [SimpleITK.GetImageFromArray(np.ascontiguousarray(mask[box]).astype(np.uint8)) for mask in masks]
    result = estimate.Execute(images)
    probability = np.zeros(union.shape, np.float32)
    probability[box] = SimpleITK.GetArrayFromImage(result)
    return Staple(probability, tuple(estimate.GetSensitivity()), tuple(estimate.GetSpecificity()))


def staple_label(drawings: Sequence[Drawing], classes: int) -> Drawing:
    """The class that is most probable by STAPLE, each class against all others; ``IGNORE`` without votes.

    Args:
        drawings: one of each rater, at least two.
        classes: number of classes, background included.
    """
    estimates = (staple([drawing == index for drawing in drawings]) for index in range(classes))
    return _most(drawings, (estimate.probability for estimate in estimates))


def fused_regions(
    drawings: Sequence[Drawing],
    classes: int,
    regions: Mapping[str, tuple[int, ...]],
    rule: Callable[[Sequence[Drawing], int], Drawing],
) -> Drawing:
    """Fuse each region by itself: of raters who agree on a tumour, but not on its core, all count for the tumour.

    Args:
        drawings: one of each rater.
        classes: number of classes, background included.
        regions: with the indices of their classes.
        rule: ``majority`` or ``staple_label``.

    Returns:
        Class indices. Where no class stands for the fused regions, that with most votes.
    """
    masks = {}
    for name, parts in regions.items():
        own = [np.where(drawing == IGNORE, IGNORE, mask_of(drawing, parts)).astype(np.uint8) for drawing in drawings]
        masks[name] = rule(own, 2) == 1
    return with_regions(majority(drawings, classes), masks, regions)


def disagreement(drawings: Sequence[Drawing], fused: Drawing) -> NDArray[np.float32]:
    """Fraction of the raters ``[*spatial]`` who chose another class than the fused label, among those who annotated."""
    speaking = sum((drawing != IGNORE).astype(np.float32) for drawing in drawings)
    others = sum(((drawing != IGNORE) & (drawing != fused)).astype(np.float32) for drawing in drawings)
    share: NDArray[np.float32] = others / np.maximum(speaking, 1)
    return share


def _most(drawings: Sequence[Drawing], shares: Iterable[NDArray[np.float32]]) -> Drawing:
    best = np.full(drawings[0].shape, -1, np.float32)
    label = np.zeros(drawings[0].shape, np.uint8)
    for index, share in enumerate(shares):
        label[share > best] = index
        np.maximum(best, share, out=best)
    label[np.logical_and.reduce([drawing == IGNORE for drawing in drawings])] = IGNORE
    return label
