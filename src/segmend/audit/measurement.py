"""Measurements of one class of one label, before the cases are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segmend.audit.distance import usual_distance
from segmend.audit.examination import Examination, Part
from segmend.audit.expectation import Expectation
from segmend.audit.offset import Offset, boundary_offset, low_confidence_offset
from segmend.core.masks import IGNORE
from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.metrics.overlap import dice


@dataclass(frozen=True, slots=True)
class Measurement:
    """One class of one label compared with its evidence.

    Attributes:
        dice: Dice of the label to the prediction.
        flagged: number of voxels that confident learning flags.
        expectation: sums for the expected Dice of the label.
        distance: median distance in mm of the given surface from the predicted one; NaN if one of them is missing.
        offset: how the boundary lies; None where nothing is drawn.
        faint: offset estimated from low-confidence evidence; None where nothing is drawn.
        volume_ratio: drawn volume relative to the predicted one; NaN where nothing is predicted.
    """

    dice: float
    flagged: int
    expectation: Expectation
    distance: float
    offset: Offset | None
    faint: OffsetEstimate | None
    volume_ratio: float


def measure_label(examination: Examination, spacing: Sequence[float]) -> dict[int, Measurement]:
    """Measure every foreground class that the label or the prediction holds.

    Args:
        examination: a label with its evidence.
        spacing: mm from voxel to voxel along each axis.
    """
    return {part.index: _measured(part, examination, spacing) for part in examination.parts()}


def _measured(part: Part, examination: Examination, spacing: Sequence[float]) -> Measurement:
    drawn, predicted = (int(np.count_nonzero(mask)) for mask in (part.given, part.predicted))
    offset = boundary_offset(part.given, part.probability, spacing) if 0 < drawn < part.given.size else None
    return Measurement(
        dice=dice(part.given, part.predicted),
        flagged=int(np.count_nonzero(part.doubted)),
        expectation=part.expectation(part.given),
        distance=usual_distance(part.given, part.predicted, spacing),
        offset=offset,
        faint=_faint(part.index, examination, spacing) if drawn else None,
        volume_ratio=drawn / predicted if predicted else math.nan,
    )


def _faint(index: int, examination: Examination, spacing: Sequence[float]) -> OffsetEstimate:
    given, annotated = examination.label == index, examination.label != IGNORE
    return low_confidence_offset(given, examination.evidence.probability(index), annotated, spacing)
