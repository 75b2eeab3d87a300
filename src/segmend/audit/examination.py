"""A label compared with its evidence, with only a few arrays in memory for any number of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from segmend.audit.calibration import Calibration
from segmend.audit.evidence import Evidence
from segmend.audit.expectation import Expectation
from segmend.core.masks import IGNORE, Mask, bounding_box
from segmend.functional.confident_learning import off_diagonal_issues

MARGIN = 10
"""Margin in voxels around an object in which its surface is searched for."""

_AT_ONCE = 2**25
"""Number of probabilities processed at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Data of one class, cropped around it.

    Attributes:
        index: the class.
        box: where the arrays lie in the scan.
        given: where the label has the class.
        predicted: where the evidence has it.
        doubted: flagged voxels where the label or the evidence has it.
        annotated: where the scan is annotated.
        probability: of the class, calibrated, strictly within 0..1.
    """

    index: int
    box: tuple[slice, ...]
    given: Mask
    predicted: Mask
    doubted: Mask
    annotated: Mask
    probability: NDArray[np.float32]

    def expectation(self, mask: Mask) -> Expectation:
        """What the evidence expects of a mask ``[*spatial]`` of the class, where there is a label."""
        return Expectation.of(mask[self.annotated], self.probability[self.annotated])


@dataclass(frozen=True, eq=False)
class Examination:
    """A label with its evidence and its issues.

    Attributes:
        label: ``[*spatial]`` class indices, ``IGNORE`` where not annotated.
        predicted: most probable class, of the same shape.
        highest: its calibrated probability.
        total: sum of the tempered probabilities of a voxel.
        issues: voxels that confident learning flags.
        evidence: the probabilities.
        temperature: temperature that calibrates them.
    """

    label: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    highest: NDArray[np.float32]
    total: NDArray[np.float32]
    issues: Mask
    evidence: Evidence
    temperature: float

    @classmethod
    def of(cls, label: NDArray[np.uint8], evidence: Evidence, calibration: Calibration) -> Self:
        """Finds the most probable classes and the issues.

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
        issues = np.zeros(label.shape, dtype=bool)
        # Confident learning never flags a voxel on which label and prediction agree.
        differing = np.flatnonzero((predicted != label) & (label != IGNORE))
        most = max(1, _AT_ONCE // evidence.classes)
        for voxels in np.array_split(differing, -(-len(differing) // most)) if len(differing) else ():
            rows = np.stack(
                [
                    evidence.probability(index).reshape(-1)[voxels] ** np.float32(1 / temperature)
                    for index in range(evidence.classes)
                ]
            )
            issues.flat[voxels] = off_diagonal_issues(
                torch.from_numpy(rows / total.reshape(-1)[voxels])[None],
                torch.from_numpy(label.reshape(-1)[voxels])[None],
                torch.from_numpy(calibration.thresholds),
            )[0].numpy()
        return cls(label, predicted, highest / total, total, issues, evidence, temperature)

    def of_other(self, label: NDArray[np.uint8]) -> Self:
        """Examine another label of the same scan with the same evidence, without searching for its issues."""
        return replace(self, label=label, issues=np.zeros(label.shape, dtype=bool))

    def parts(self) -> Iterator[Part]:
        """The foreground classes that the label or the evidence holds, one after the other."""
        known = self.label != IGNORE
        for index in range(1, self.evidence.classes):
            given, predicted = self.label == index, (self.predicted == index) & known
            concerned = given | predicted
            if concerned.any():
                box = bounding_box(concerned, MARGIN)
                yield Part(
                    index,
                    box,
                    given[box],
                    predicted[box],
                    (self.issues & concerned)[box],
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
