"""Scores of a predicted probability map against a soft reference: overlap over thresholds, and calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.metrics.overlap import threshold_dice_of

BINS = 10
"""Bins of equal width, in which predicted and reference probabilities are averaged."""

LEAST = 0.01
"""Voxels count for the calibration where prediction or reference is at least this: the rest is empty background."""


@dataclass(frozen=True, slots=True)
class SoftScore:
    """One row of a table of soft scores: one class of one case.

    Attributes:
        case: the case's name.
        label: the class's name.
        threshold_dice: mean Dice over the thresholds 0.1, 0.2, ... 0.9 of both maps (QUBIQ), 0..1.
        calibration_error: expected calibration error, 0..1.
        brier: mean squared difference of the maps over the same voxels, 0..1.
        volume_prediction: sum of the predicted probabilities, in the unit of the spacing.
        volume_reference: sum of the reference's, in the same unit.
    """

    case: str
    label: str
    threshold_dice: float
    calibration_error: float
    brier: float
    volume_prediction: float
    volume_reference: float


def score_maps(
    case: str,
    label: str,
    prediction: NDArray[np.floating],
    reference: NDArray[np.floating],
    spacing: Sequence[float],
) -> SoftScore:
    """Score one class of one case.

    Args:
        case: name of the case.
        label: name of the class.
        prediction: ``[*spatial]`` in 0..1.
        reference: the same shape, in 0..1, such as the fraction of raters.
        spacing: distance from voxel to voxel along each axis.

    Raises:
        InputError: the shapes differ.
    """
    if prediction.shape != reference.shape:
        problem = f"has shape {prediction.shape}, the reference {reference.shape}"
        raise InputError("prediction", problem, "give maps on one grid", code="mismatch")
    unit = math.prod(spacing)
    counted = (prediction >= LEAST) | (reference >= LEAST)
    differences = prediction[counted].astype(np.float64) - reference[counted]
    return SoftScore(
        case=case,
        label=label,
        threshold_dice=threshold_dice_of(prediction, reference),
        calibration_error=calibration_error(prediction[counted], reference[counted]),
        brier=float(np.square(differences).mean()) if differences.size else 0.0,
        volume_prediction=float(prediction.sum(dtype=np.float64)) * unit,
        volume_reference=float(reference.sum(dtype=np.float64)) * unit,
    )


def calibration_error(prediction: NDArray[np.floating], reference: NDArray[np.floating], bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015; Guo et al., ICML 2017), of a soft reference.

    sum_b n_b / n |mean of the reference - mean of the prediction| over bins b of the prediction.

    Args:
        prediction: any shape, 0..1.
        reference: the same shape, 0..1; that of a single label is 0 or 1.
        bins: of equal width; the last one includes 1.

    Returns:
        0..1; 0 without any voxel.
    """
    if not prediction.size:
        return 0.0
    numbers = np.minimum((prediction.ravel() * bins).astype(np.intp), bins - 1)
    differences = reference.ravel().astype(np.float64) - prediction.ravel()
    return float(np.abs(np.bincount(numbers, weights=differences, minlength=bins)).sum() / prediction.size)
