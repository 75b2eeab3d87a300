"""Agreement of a soft prediction with several annotators of one scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.masks import Mask, check_masks
from segmend.metrics.overlap import dice

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
    share = np.mean(annotations, axis=0)
    return float(np.mean([dice(probability >= threshold, share >= threshold) for threshold in thresholds]))
