"""What the cases of an audit are compared with: labels that their model has not seen, and expert ones among these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Self

from segmend.audit.evidence import AuditedCase
from segmend.audit.examination import Measurement
from segmend.audit.expected_dice import FEWEST_TRUE, Agreement, CohortStatistics
from segmend.audit.reliability import EXPERTS, FEWEST, GIVEN, Reliability
from segmend.core.case import Quality

Measured = Mapping[str, Mapping[int, Measurement]]
"""Measurements by case and class."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Cases by name.

    Attributes:
        unseen: those whose label their model was not trained on; all, if there is none: memorised labels look better
            than they are and must not set the norm.
        experts: those of them with an expert label.
    """

    unseen: frozenset[str]
    experts: frozenset[str]

    @classmethod
    def of(cls, cases: Sequence[AuditedCase]) -> Self:
        """Tell the cases apart.

        Args:
            cases: those to judge.
        """
        unseen = {case.case.name for case in cases if not case.in_training_set} or {case.case.name for case in cases}
        experts = {case.case.name for case in cases if case.case.quality is Quality.EXPERT}
        return cls(frozenset(unseen), frozenset(unseen & experts))

    @property
    def norm(self) -> frozenset[str]:
        """Cases that calibrate the evidence and set the norm: the expert ones, if there are enough."""
        return self.experts if len(self.experts) >= FEWEST else self.unseen

    def references(self, measured: Measured, classes: int, voxel: float) -> dict[int, CohortStatistics]:
        """Statistics of each foreground class.

        Args:
            measured: all cases.
            classes: number of classes, background included.
            voxel: smallest spacing in mm.
        """
        references = {}
        for index in range(1, classes):
            of_class = _of(self.norm, measured, index)
            if len(of_class) < FEWEST:  # few of the expert labels hold the class
                of_class = _of(self.unseen, measured, index)
            references[index] = CohortStatistics.of(
                [measurement.expectation for measurement in of_class],
                [measurement.distance for measurement in of_class],
                voxel,
                self._agreement(measured, index),
            )
        return references

    def reliability(self, measured: Measured, references: Mapping[int, CohortStatistics]) -> dict[int, Reliability]:
        """Reliability of the expected Dice of each foreground class.

        Args:
            measured: all cases.
            references: statistics of each foreground class.
        """
        reliability = {}
        for index, reference in references.items():
            true = _of(self.experts, measured, index)
            by_experts = len(true) >= FEWEST_TRUE
            compared = true if by_experts else _of(self.unseen, measured, index)
            predicted = [each for each in compared if each.of_prediction.voxels]
            reliability[index] = Reliability(
                EXPERTS if by_experts else GIVEN,
                [each.of_prediction.dice(reference.slack) for each in predicted],
                [each.dice for each in predicted],
            )
        return reliability

    def _agreement(self, measured: Measured, index: int) -> Agreement:
        true, others = (_of(names, measured, index) for names in (self.experts, self.unseen - self.experts))
        return Agreement(
            [each.expectation for each in true],
            [each.of_prediction for each in true],
            [each.expectation for each in others],
        )


def _of(names: Set[str], measured: Measured, index: int) -> list[Measurement]:
    """Measurements of a class in some cases."""
    return [classes[index] for name, classes in measured.items() if name in names and index in classes]
