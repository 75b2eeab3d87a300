"""Quality of each annotator: systematic over- or under-segmentation, and agreement with the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.audit.examination import Examination, Measurement, measure_label
from segmend.audit.offsets import Offset
from segmend.core.case import Case
from segmend.data.finding import MAIN
from segmend.data.folder import DataFolder
from segmend.data.image import Grid
from segmend.data.raters import drawings_of, read_drawing
from segmend.fusion import staple

CLEAR_ERRORS = 2.0
"""Number of standard errors from which a bias is reported."""


@dataclass(frozen=True, slots=True)
class AnnotatorMeasurement:
    """Measurements of one class as one annotator drew it in one case.

    Attributes:
        annotator: name of the annotator.
        label: name of the class.
        volume_ratio: drawn volume relative to the predicted one; NaN where nothing is predicted.
        offset: how the boundary lies relative to the evidence.
        dice: Dice to the prediction.
    """

    annotator: str
    label: str
    volume_ratio: float
    offset: Offset
    dice: float


@dataclass(frozen=True, slots=True)
class Rating:
    """STAPLE's quality estimate for one annotator and one class of a case that several annotators labelled."""

    annotator: str
    label: str
    sensitivity: float
    specificity: float


@dataclass(frozen=True, slots=True)
class AnnotatorRow:
    """A row of ``annotators.csv``. Medians over the cases, except for the means of STAPLE's numbers.

    Attributes:
        annotator: name of the annotator.
        label: name of the class.
        cases: number of cases that the annotator labelled.
        volume_ratio: drawn volume relative to the predicted one.
        offset_mm: boundary offset, positive outward (over-segmented).
        offset_se_mm: its standard error.
        all_round: fraction of the cases in which it is off all round.
        dice_to_prediction: Dice to the prediction.
        sensitivity: STAPLE's mean sensitivity over the cases that several annotators labelled; NaN if there is none.
        specificity: STAPLE's mean specificity over the same cases.
        shared_cases: number of these cases.
        verdict: in words.
    """

    annotator: str
    label: str
    cases: int
    volume_ratio: float
    offset_mm: float
    offset_se_mm: float
    all_round: float
    dice_to_prediction: float
    sensitivity: float
    specificity: float
    shared_cases: int
    verdict: str


@dataclass(frozen=True, slots=True)
class ComparedDrawings:
    """The labels of one case, by all annotators.

    Attributes:
        measured: a measurement of each annotator and class.
        ratings: by STAPLE, where several annotators labelled the case.
    """

    measured: tuple[AnnotatorMeasurement, ...] = ()
    ratings: tuple[Rating, ...] = ()


class AnnotatorComparison:
    """Measures each annotator's labels, case by case.

    Args:
        folder: the data folder.
        raters: folders of further labels of the same cases, by rater.
    """

    def __init__(self, folder: DataFolder, raters: Mapping[str, Path]) -> None:
        self.folder, self.raters = folder, raters
        self._names = list(folder.labels)

    def compare(
        self, case: Case, examination: Examination, grid: Grid, measured: Mapping[int, Measurement]
    ) -> ComparedDrawings:
        """Measure the labels that other annotators drew of a case.

        Args:
            case: the case.
            examination: of the label that is audited.
            grid: of it.
            measured: what was measured of it.
        """
        files = drawings_of(case, self.folder, self.raters)
        others = {rater: file for rater, file in files.items() if file != case.label}
        own = case.annotator or (MAIN if others else "")
        found = self._of_one(own, measured) if own else []
        drawings = {own: examination.label}
        for rater, file in others.items():
            drawings[rater] = read_drawing(file, self.folder, grid)
            found += self._of_one(rater, measure_label(examination.of_other(drawings[rater]), grid.spacing))
        return ComparedDrawings(tuple(found), tuple(self._ratings(drawings)) if others else ())

    def _of_one(self, annotator: str, measured: Mapping[int, Measurement]) -> list[AnnotatorMeasurement]:
        return [
            AnnotatorMeasurement(annotator, self._names[index], of_class.volume_ratio, of_class.offset, of_class.dice)
            for index, of_class in measured.items()
            if of_class.offset
        ]

    def _ratings(self, drawings: Mapping[str, NDArray[np.uint8]]) -> Iterator[Rating]:
        for index, name in enumerate(self._names[1:], start=1):
            masks = [drawing == index for drawing in drawings.values()]
            if any(mask.any() for mask in masks):
                estimate = staple(masks)
                for rater, sensitivity, specificity in zip(
                    drawings, estimate.sensitivity, estimate.specificity, strict=True
                ):
                    yield Rating(rater, name, sensitivity, specificity)


def summarise_annotators(measurements: Iterable[AnnotatorMeasurement], ratings: Iterable[Rating]) -> list[AnnotatorRow]:
    """Return one row for each annotator and class, in order of appearance."""
    groups: dict[tuple[str, str], list[AnnotatorMeasurement]] = {}
    for each in measurements:
        groups.setdefault((each.annotator, each.label), []).append(each)
    rated: dict[tuple[str, str], list[Rating]] = {}
    for rating in ratings:
        rated.setdefault((rating.annotator, rating.label), []).append(rating)
    return [_row(of_one, rated.get(key, [])) for key, of_one in groups.items()]


def _row(measurements: Sequence[AnnotatorMeasurement], ratings: Sequence[Rating]) -> AnnotatorRow:
    offsets = np.array([each.offset.mm for each in measurements])
    median, error = float(np.median(offsets)), _standard_error(measurements)
    all_round = float(np.mean([each.offset.all_round for each in measurements]))
    return AnnotatorRow(
        annotator=measurements[0].annotator,
        label=measurements[0].label,
        cases=len(measurements),
        volume_ratio=_median_of_known([each.volume_ratio for each in measurements]),
        offset_mm=median,
        offset_se_mm=error,
        all_round=all_round,
        dice_to_prediction=float(np.median([each.dice for each in measurements])),
        sensitivity=_mean([rating.sensitivity for rating in ratings]),
        specificity=_mean([rating.specificity for rating in ratings]),
        shared_cases=len(ratings),
        verdict=_verdict(median, error, all_round),
    )


def _standard_error(measurements: Sequence[AnnotatorMeasurement]) -> float:
    """Standard error of the median, from the spread between the cases and the uncertainty within each."""
    offsets = np.array([each.offset.mm for each in measurements])
    spread = 1.4826 * float(np.median(np.abs(offsets - np.median(offsets))))
    within = float(np.median([each.offset.standard_error for each in measurements]))
    # The median of normal values scatters 1.2533 times as much as their mean.
    return 1.2533 * math.hypot(spread, within) / math.sqrt(len(measurements))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _median_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _verdict(offset: float, error: float, all_round: float) -> str:
    if not abs(offset) > CLEAR_ERRORS * error:
        return "no clear bias"
    direction = "wide" if offset > 0 else "tight"
    return f"outlined {abs(offset):.1f} mm too {direction}" + (", all round" if all_round >= 0.5 else "")
