"""Overlap of the voxels of two masks, and of a soft prediction with several annotators."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.masks import DICE_OF_NOTHING, IGNORE, Mask, check_masks
from segmend.core.regions import mask_of


def dice(prediction: Mask, reference: Mask) -> float:
    """Dice coefficient 2 |P and R| / (|P| + |R|), in 0..1; 1 if both masks are empty.

    Raises:
        InputError: the masks are not boolean or not of one shape.
    """
    shared, predicted, true = _counts(prediction, reference)
    return 2 * shared / (predicted + true) if predicted + true else DICE_OF_NOTHING


def mean_dice(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], objects: Collection[tuple[int, ...]]
) -> float:
    """Mean Dice of the objects over the voxels whose class is known.

    Args:
        prediction: class indices, of the shape of the reference.
        reference: class indices, ``IGNORE`` where nothing is known.
        objects: class indices of each, as ``core.regions.objects_of`` gives them.

    Returns:
        0..1; NaN if nothing is known anywhere.
    """
    known = reference != IGNORE
    if not known.any():
        return float("nan")
    return fmean(dice(mask_of(prediction, classes) & known, mask_of(reference, classes)) for classes in objects)


THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))
"""0.1, 0.2, ... 0.9, at which the QUBIQ challenge compares."""


def threshold_dice(
    probability: NDArray[np.floating], annotations: Sequence[Mask], thresholds: Sequence[float] = THRESHOLDS
) -> float:
    """Mean Dice over several thresholds, each applied to both the prediction and the fraction of annotators.

    The measure of the QUBIQ challenge, as in AIDE's comparison. A voxel is in a mask if its value reaches the
    threshold; where both masks are empty, the Dice coefficient is 1.

    Args:
        probability: of the object, ``[*spatial]`` in 0..1.
        annotations: one mask ``[*spatial]`` for each annotator, at least one.
        thresholds: above 0, up to 1.

    Returns:
        In 0..1.

    Raises:
        InputError: there is no annotation, or shapes or types differ.
    """
    if not annotations:
        raise InputError("annotations", "there are none", "give the mask of at least one annotator", code="no-data")
    for annotation in annotations:
        check_masks(probability >= thresholds[0], annotation)
    return threshold_dice_of(probability, np.mean(annotations, axis=0), thresholds)


def threshold_dice_of(
    probability: NDArray[np.floating], share: NDArray[np.floating], thresholds: Sequence[float] = THRESHOLDS
) -> float:
    """The same of a soft reference: ``share`` is the fraction of annotators, or any probability of the object.

    Args:
        probability: of the object, ``[*spatial]`` in 0..1.
        share: the same shape, in 0..1.
        thresholds: above 0, up to 1.

    Raises:
        InputError: the shapes differ.
    """
    return float(np.mean([dice(probability >= threshold, share >= threshold) for threshold in thresholds]))


def jaccard(prediction: Mask, reference: Mask) -> float:
    """Jaccard index |P and R| / |P or R|, in 0..1; 1 if both masks are empty.

    Raises:
        InputError: the masks are not boolean or not of one shape.
    """
    shared, predicted, true = _counts(prediction, reference)
    return shared / (predicted + true - shared) if predicted + true else DICE_OF_NOTHING


def ravd(prediction: Mask, reference: Mask) -> float:
    """Relative absolute volume difference ||P| - |R|| / |R|, a fraction; 0 if both masks are empty.

    Raises:
        InputError: the masks are not boolean or not of one shape, or only the reference is empty.
    """
    _, predicted, true = _counts(prediction, reference)
    if not true and predicted:
        raise InputError(
            "reference", "is empty, so there is no volume to relate to", "count it as a false alarm", code="no-data"
        )
    return abs(predicted - true) / true if true else 0.0


def _counts(prediction: Mask, reference: Mask) -> tuple[int, int, int]:
    check_masks(prediction, reference)
    shared = np.count_nonzero(prediction & reference)
    return int(shared), int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
