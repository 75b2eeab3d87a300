"""A label compared with its evidence, and what is measured of each class before the cases are compared.

Only a few arrays are in memory for any number of classes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from segmend.audit.calibration import Calibration
from segmend.audit.evidence import SMALLEST, Evidence
from segmend.audit.expected_dice import Expectation
from segmend.audit.offsets import Offset, boundary_offset, low_confidence_offset, offset_margin
from segmend.core.masks import IGNORE, Mask, bounding_box
from segmend.functional.confident_learning import off_diagonal_issues
from segmend.functional.morphology import signed_distance
from segmend.functional.offsets.estimate import OffsetEstimate
from segmend.metrics.overlap import dice

MARGIN = 10
"""Margin in voxels around an object in which its surface is searched for."""

_MAX_PROBABILITIES = 2**25
"""Number of probabilities processed at once."""
_MAX_READ = 2**27
"""Number of probabilities in memory at once: to read those of some voxels takes as long as to read those of all."""


@dataclass(frozen=True, eq=False)
class Part:
    """Data of one class, cropped around it.

    Attributes:
        index: the class.
        box: where the arrays lie in the scan.
        given: where the label has the class.
        predicted: where the evidence has it.
        flagged: flagged voxels where the label or the evidence has it.
        annotated: where the scan is annotated.
        examination: that it is a part of.
    """

    index: int
    box: tuple[slice, ...]
    given: Mask
    predicted: Mask
    flagged: Mask
    annotated: Mask
    examination: Examination

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """Probability of the class, calibrated, strictly within 0..1."""
        return self.examination.probability(self.index, self.box)

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
        power = np.float32(1 / calibration.temperature)
        # A class is the most probable one nowhere outside of its box, where it has the smallest probability.
        smallest = np.array([SMALLEST]) ** power
        predicted = np.zeros(label.shape, np.uint8)
        highest = np.full(label.shape, smallest, np.float32)
        total = np.zeros(label.shape, np.float32)
        for index in range(evidence.classes):
            box, probability = evidence.concentrated(index)
            tempered = probability**power
            inside = total[box] + tempered
            total += smallest
            total[box] = inside
            above = tempered > highest[box]
            predicted[box][above] = index
            np.maximum(highest[box], tempered, out=highest[box])
        # Confident learning never flags a voxel on which label and prediction agree.
        differing = np.flatnonzero((predicted != label) & (label != IGNORE))
        flagged = np.zeros(label.shape, dtype=bool)
        flagged.flat[differing] = _issues(label, evidence, total, calibration, differing)
        highest /= total
        return cls(label, predicted, highest, total, flagged, evidence, calibration.temperature)

    @classmethod
    def of_evidence(cls, evidence: Evidence, calibration: Calibration, shape: Sequence[int]) -> Self:
        """Find the most probable classes alone, as of a label in which nothing is annotated.

        Args:
            evidence: the probabilities.
            calibration: of all cases together.
            shape: of the scan.
        """
        return cls.of(np.full(shape, IGNORE, np.uint8), evidence, calibration)

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
        classes = self.evidence.classes
        drawn, seen = (
            ndimage.find_objects(where, classes - 1)
            for where in (self.label, np.where(self.label == IGNORE, np.uint8(0), self.predicted))
        )
        for index in range(1, classes):
            boxes = [box for box in (drawn[index - 1], seen[index - 1]) if box]
            if boxes and (only is None or index in only):
                box = _joined(boxes, MARGIN, self.label.shape)
                known, given = self.label[box] != IGNORE, self.label[box] == index
                predicted = (self.predicted[box] == index) & known
                flagged = self.flagged[box] & (given | predicted)
                yield Part(index, box, given, predicted, flagged, known, self)

    def calibrated(self, index: int) -> NDArray[np.float32]:
        """Calibrated probability ``[*spatial]`` of a class; over all classes they sum to 1."""
        tempered = self.evidence.probability(index) ** np.float32(1 / self.temperature)
        tempered /= self.total
        return tempered

    def probability(self, index: int, box: Sequence[slice]) -> NDArray[np.float32]:
        """Calibrated probability of a class within a box; an uninformative 0.5 where there is no label."""
        return self.probabilities(index, [tuple(box)])[0]

    def probabilities(self, index: int, boxes: Sequence[tuple[slice, ...]]) -> list[NDArray[np.float32]]:
        """Calibrated probability of a class within each of several boxes, as ``probability``; it is read once."""
        found = []
        for box, probability in zip(boxes, self.evidence.within(index, *boxes), strict=True):
            tempered = probability ** np.float32(1 / self.temperature)
            calibrated = (tempered / self.total[box]).clip(1e-6, 1 - 1e-6)
            found.append(np.where(self.label[box] == IGNORE, np.float32(0.5), calibrated))
        return found


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
        low_confidence=_low_confidence_offset(part, spacing) if drawn else None,
        volume_ratio=drawn / predicted if predicted else math.nan,
    )


def _low_confidence_offset(part: Part, spacing: Sequence[float]) -> OffsetEstimate:
    label = part.examination.label
    drawn = bounding_box(part.given)
    inner = tuple(
        slice(side.start + own.start, side.start + own.stop) for side, own in zip(part.box, drawn, strict=True)
    )
    box = _joined([inner], offset_margin(spacing), label.shape)
    (probability,) = part.examination.evidence.within(part.index, box)
    return low_confidence_offset(label[box] == part.index, probability, label[box] != IGNORE, spacing)


def _joined(boxes: Sequence[tuple[slice, ...]], margin: int, shape: Sequence[int]) -> tuple[slice, ...]:
    """The smallest box around some, enlarged by a margin within the array."""
    return tuple(
        slice(max(min(side.start for side in sides) - margin, 0), min(max(side.stop for side in sides) + margin, most))
        for sides, most in zip(zip(*boxes, strict=True), shape, strict=True)
    )


def _issues(
    label: NDArray[np.uint8],
    evidence: Evidence,
    total: NDArray[np.float32],
    calibration: Calibration,
    voxels: NDArray[np.int64],
) -> Mask:
    """Which of some voxels ``[n]`` confident learning flags."""
    flagged = np.zeros(len(voxels), dtype=bool)
    power, thresholds = np.float32(1 / calibration.temperature), torch.from_numpy(calibration.thresholds)
    read, processed = (max(1, most // evidence.classes) for most in (_MAX_READ, _MAX_PROBABILITIES))
    for first in range(0, len(voxels), read):
        chosen = voxels[first : first + read]
        rows = np.empty((evidence.classes, len(chosen)), np.float32)
        for index in range(evidence.classes):
            rows[index] = evidence.at(index, chosen)
        for start in range(0, len(chosen), processed):
            part = chosen[start : start + processed]
            tempered = rows[:, start : start + processed] ** power
            flagged[first + start : first + start + len(part)] = off_diagonal_issues(
                torch.from_numpy(tempered / total.reshape(-1)[part])[None],
                torch.from_numpy(label.reshape(-1)[part])[None],
                thresholds,
            )[0].numpy()
    return flagged
