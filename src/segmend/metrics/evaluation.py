"""The scores of one case: every metric of every label, and what counts when a mask is empty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.masks import Mask
from segmend.core.regions import mask_of
from segmend.metrics.overlap import dice, jaccard, ravd
from segmend.metrics.surface import asd, assd, hd95, mssd, nsd, surface_distances


class Status(StrEnum):
    """Which of the two masks hold anything."""

    OK = "ok"
    MISSED = "missed"
    FALSE_ALARM = "false_alarm"
    BOTH_EMPTY = "both_empty"


@dataclass(frozen=True, slots=True)
class Score:
    """One row of a result table: how well one label of one case was segmented.

    Fractions lie in 0..1, distances and volumes are in the unit of the spacing (millimetres or voxels).
    None means undefined: distances to an empty mask, and a volume difference relative to nothing.

    Attributes:
        case: the case's name.
        label: the class's name, or its value where it has none.
        dice: Dice coefficient.
        jaccard: Jaccard index.
        hd95: 95th percentile of the surface distances of both directions together.
        asd: average distance from the prediction's surface to the reference's.
        assd: average surface distance of both directions together.
        mssd: maximum surface distance (Hausdorff distance).
        nsd: fraction of both surfaces within the tolerance.
        ravd: relative absolute volume difference, a fraction that may exceed 1.
        volume_prediction: volume (2D: area) of the prediction.
        volume_reference: volume (2D: area) of the reference.
        status: whether one or both masks are empty.
    """

    case: str
    label: str
    dice: float
    jaccard: float
    hd95: float | None
    asd: float | None
    assd: float | None
    mssd: float | None
    nsd: float
    ravd: float | None
    volume_prediction: float
    volume_reference: float
    status: Status


def score_masks(
    case: str, label: str, prediction: Mask, reference: Mask, spacing: Sequence[float], tolerance: float = 1.0
) -> Score:
    """Score one label of one case.

    If both masks are empty the prediction is perfect: overlaps 1, distances and volume difference 0.
    If one is empty, overlaps are 0 and distances undefined; the volume difference is 1 where the
    object was missed and undefined for a false alarm.

    Args:
        case: name of the case.
        label: name of the label.
        prediction: ``[*spatial]`` boolean.
        reference: the same shape.
        spacing: distance from voxel to voxel along each axis; ones give everything in voxels.
        tolerance: distance within which surfaces agree, in the unit of ``spacing``.

    Raises:
        InputError: the masks are not boolean or of different shapes, or the spacing has another number of axes.
    """
    overlap, iou = dice(prediction, reference), jaccard(prediction, reference)
    predicted, true = (float(np.count_nonzero(mask) * math.prod(spacing)) for mask in (prediction, reference))
    if not predicted and not true:
        return both_empty(case, label)
    if not predicted:
        return Score(case, label, overlap, iou, None, None, None, None, 0.0, 1.0, predicted, true, Status.MISSED)
    if not true:
        return Score(case, label, overlap, iou, None, None, None, None, 0.0, None, predicted, true, Status.FALSE_ALARM)
    distances = surface_distances(prediction, reference, spacing)
    return Score(
        case=case,
        label=label,
        dice=overlap,
        jaccard=iou,
        hd95=hd95(distances),
        asd=asd(distances),
        assd=assd(distances),
        mssd=mssd(distances),
        nsd=nsd(distances, tolerance),
        ravd=ravd(prediction, reference),
        volume_prediction=predicted,
        volume_reference=true,
        status=Status.OK,
    )


def both_empty(case: str, label: str) -> Score:
    """The score of a label that neither the prediction nor the reference holds."""
    return Score(case, label, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, Status.BOTH_EMPTY)


def score_case(
    case: str,
    prediction: NDArray[np.integer[Any]],
    reference: NDArray[np.integer[Any]],
    objects: Mapping[str, tuple[int, ...]],
    spacing: Sequence[float],
    tolerance: float = 1.0,
) -> dict[str, Score]:
    """Score several objects of one case, by name.

    Args:
        case: name of the case.
        prediction: ``[*spatial]`` label values.
        reference: the same shape.
        objects: names and label values: one, or those of a region.
        spacing: distance from voxel to voxel along each axis; ones give everything in voxels.
        tolerance: distance within which surfaces agree, in the unit of ``spacing``.
    """
    return {
        name: score_masks(case, name, mask_of(prediction, values), mask_of(reference, values), spacing, tolerance)
        for name, values in objects.items()
    }
