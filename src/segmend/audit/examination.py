"""A label compared with its evidence, and what is measured of each class before the cases are compared.

Only a few arrays are in memory for any number of classes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from segmend.audit.calibration import Calibration
from segmend.audit.evidence import Evidence
from segmend.audit.expected_dice import Expectation
from segmend.audit.offsets import Offset, boundary_offset, low_confidence_offset
from segmend.core.masks import IGNORE, Mask, bounding_box
from segmend.functional.confident_learning import off_diagonal_issues
from segmend.functional.morphology import signed_distance
from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.metrics.overlap import dice

MARGIN = 10
"""Margin in voxels around an object in which its surface is searched for."""

_MAX_PROBABILITIES = 2**25
"""Number of probabilities processed at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Data of one class, cropped around it.

    Attributes:
        index: the class.
        box: where the arrays lie in the scan.
        given: where the label has the class.
        predicted: where the evidence has it.
        flagged: flagged voxels where the label or the evidence has it.
        annotated: where the scan is annotated.
        probability: of the class, calibrated, strictly within 0..1.
    """

    index: int
    box: tuple[slice, ...]
    given: Mask
    predicted: Mask
    flagged: Mask
    annotated: Mask
    probability: NDArray[np.float32]

    def expectation(self, mask: Mask) -> Expectation:
        """What the evidence expects of a mask ``[*spatial]`` of the class, where there is a label."""
        return Expectation.of(mask[self.annotated], self.probability[self.annotated])


@dataclass(frozen=True, eq=False)
class Examination:
    """A label with its evidence and its flagged voxels.

    Attributes:
        label: ``[*spatial]`` class indices, ``IGNORE`` where not annotated.
        predicted: most probable class, of the same shape.
        highest: its calibrated probability.
        total: sum of the tempered probabilities of a voxel.
        flagged: voxels that confident learning flags.
        evidence: the probabilities.
        temperature: temperature that calibrates them.
    """

    label: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    highest: NDArray[np.float32]
    total: NDArray[np.float32]
    flagged: Mask
    evidence: Evidence
    temperature: float

    @classmethod
    def of(cls, label: NDArray[np.uint8], evidence: Evidence, calibration: Calibration) -> Self:
        """Find the most probable classes and the voxels in which the label is probably wrong.

        Args:
            label: ``[*spatial]`` class indices or ``IGNORE``.
            evidence: on the same grid.
            calibration: of all cases together.
        """
        temperature = calibration.temperature
        predicted = np.zeros(label.shape, np.uint8)
        highest = np.zeros(label.shape, np.float32)
        total = np.zeros(label.shape, np.float32)
        for index in range(evidence.classes):
            tempered = evidence.probability(index) ** np.float32(1 / temperature)
            total += tempered
            above = tempered > highest
            predicted[above] = index
            np.maximum(highest, tempered, out=highest)
        flagged = np.zeros(label.shape, dtype=bool)
        # Confident learning never flags a voxel on which label and prediction agree.
        differing = np.flatnonzero((predicted != label) & (label != IGNORE))
        most = max(1, _MAX_PROBABILITIES // evidence.classes)
        for voxels in np.array_split(differing, -(-len(differing) // most)) if len(differing) else ():
            rows = np.stack(
                [
                    evidence.probability(index).reshape(-1)[voxels] ** np.float32(1 / temperature)
                    for index in range(evidence.classes)
                ]
            )
            flagged.flat[voxels] = off_diagonal_issues(
                torch.from_numpy(rows / total.reshape(-1)[voxels])[None],
                torch.from_numpy(label.reshape(-1)[voxels])[None],
                torch.from_numpy(calibration.thresholds),
            )[0].numpy()
        return cls(label, predicted, highest / total, total, flagged, evidence, temperature)

    @property
    def bytes(self) -> int:
        """Memory of its arrays."""
        return sum(array.nbytes for array in (self.label, self.predicted, self.highest, self.total, self.flagged))

    def of_other(self, label: NDArray[np.uint8]) -> Self:
        """Examine another label of the same scan with the same evidence, without flagging its voxels."""
        return replace(self, label=label, flagged=np.zeros(label.shape, dtype=bool))

    def parts(self, only: Collection[int] | None = None) -> Iterator[Part]:
        """The foreground classes that the label or the evidence holds, one after the other.

        Args:
            only: classes to choose from; None takes all.
        """
        known = self.label != IGNORE
        for index in range(1, self.evidence.classes):
            if only is not None and index not in only:
                continue
            given, predicted = self.label == index, (self.predicted == index) & known
            concerned = given | predicted
            if concerned.any():
                box = bounding_box(concerned, MARGIN)
                yield Part(
                    index,
                    box,
                    given[box],
                    predicted[box],
                    (self.flagged & concerned)[box],
                    known[box],
                    self.probability(index, box),
                )

    def probability(self, index: int, box: Sequence[slice]) -> NDArray[np.float32]:
        """Calibrated probability of a class within a box; an uninformative 0.5 where there is no label."""
        where = tuple(box)
        tempered = self.evidence.probability(index)[where] ** np.float32(1 / self.temperature)
        calibrated = (tempered / self.total[where]).clip(1e-6, 1 - 1e-6)
        result: NDArray[np.float32] = np.where(self.label[where] == IGNORE, np.float32(0.5), calibrated)
        return result


@dataclass(frozen=True, slots=True)
class Measurement:
    """One class of one label compared with its evidence.

    Attributes:
        dice: Dice of the label to the prediction.
        flagged: number of voxels that confident learning flags.
        differing: number of voxels in which label and prediction differ.
        expectation: sums for the expected Dice of the label.
        of_prediction: sums for the expected Dice of the predicted mask.
        distance: median distance in mm of the given surface from the predicted one; NaN if one of them is missing.
        offset: how the boundary lies; None where nothing is drawn.
        low_confidence: offset as OffsetCorrection measures it, even from low-confidence evidence; None where nothing is
            drawn.
        volume_ratio: drawn volume relative to the predicted one; NaN where nothing is predicted.
    """

    dice: float
    flagged: int
    differing: int
    expectation: Expectation
    of_prediction: Expectation
    distance: float
    offset: Offset | None
    low_confidence: OffsetEstimate | None
    volume_ratio: float


def measure_label(examination: Examination, spacing: Sequence[float]) -> dict[int, Measurement]:
    """Measure every foreground class that the label or the prediction holds.

    Args:
        examination: a label with its evidence.
        spacing: mm from voxel to voxel along each axis.
    """
    return {part.index: _measure(part, examination, spacing) for part in examination.parts()}


def median_surface_distance(given: Mask, predicted: Mask, spacing: Sequence[float]) -> float:
    """Median distance of the given surface from the predicted one in mm; NaN if one of them is missing.

    Args:
        given: ``[*spatial]``.
        predicted: the same shape.
        spacing: mm from voxel to voxel along each axis.
    """
    surface = given & ~ndimage.binary_erosion(given, border_value=1)
    if not surface.any() or not predicted.any():
        return math.nan
    return float(np.median(np.abs(signed_distance(predicted, spacing)[surface])))


def _measure(part: Part, examination: Examination, spacing: Sequence[float]) -> Measurement:
    drawn, predicted = (int(np.count_nonzero(mask)) for mask in (part.given, part.predicted))
    offset = boundary_offset(part.given, part.probability, spacing) if 0 < drawn < part.given.size else None
    return Measurement(
        dice=dice(part.given, part.predicted),
        flagged=int(np.count_nonzero(part.flagged)),
        differing=int(np.count_nonzero(part.given != part.predicted)),
        expectation=part.expectation(part.given),
        of_prediction=part.expectation(part.predicted),
        distance=median_surface_distance(part.given, part.predicted, spacing),
        offset=offset,
        low_confidence=_low_confidence_offset(part.index, examination, spacing) if drawn else None,
        volume_ratio=drawn / predicted if predicted else math.nan,
    )


def _low_confidence_offset(index: int, examination: Examination, spacing: Sequence[float]) -> OffsetEstimate:
    given, annotated = examination.label == index, examination.label != IGNORE
    return low_confidence_offset(given, examination.evidence.probability(index), annotated, spacing)
