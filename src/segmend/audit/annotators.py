"""Quality of each annotator: systematic over- or under-segmentation, and reliability."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from segmend.audit.offset import Offset

SURE = 2.0
"""Number of standard errors from which a bias is reported."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One class as one annotator drew it in one case.

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
class Bias:
    """A row of ``annotators.csv``. Medians over the cases, except for the means of STAPLE's numbers.

    Attributes:
        annotator: name of the annotator.
        label: name of the class.
        cases: number of cases that the annotator labelled.
        volume_ratio: drawn volume relative to the predicted one.
        offset_mm: how much too wide (positive) or too tight the boundary is.
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


def summarise(drawings: Iterable[Drawing], ratings: Iterable[Rating]) -> list[Bias]:
    """Return one row for each annotator and class, in order of appearance."""
    groups: dict[tuple[str, str], list[Drawing]] = {}
    for drawing in drawings:
        groups.setdefault((drawing.annotator, drawing.label), []).append(drawing)
    rated: dict[tuple[str, str], list[Rating]] = {}
    for rating in ratings:
        rated.setdefault((rating.annotator, rating.label), []).append(rating)
    return [_bias(of_one, rated.get(key, [])) for key, of_one in groups.items()]


def _bias(drawings: Sequence[Drawing], ratings: Sequence[Rating]) -> Bias:
    offsets = np.array([drawing.offset.mm for drawing in drawings])
    median, error = float(np.median(offsets)), _standard_error(drawings)
    all_round = float(np.mean([drawing.offset.all_round for drawing in drawings]))
    return Bias(
        annotator=drawings[0].annotator,
        label=drawings[0].label,
        cases=len(drawings),
        volume_ratio=_median_of_known([drawing.volume_ratio for drawing in drawings]),
        offset_mm=median,
        offset_se_mm=error,
        all_round=all_round,
        dice_to_prediction=float(np.median([drawing.dice for drawing in drawings])),
        sensitivity=_mean([rating.sensitivity for rating in ratings]),
        specificity=_mean([rating.specificity for rating in ratings]),
        shared_cases=len(ratings),
        verdict=_verdict(median, error, all_round),
    )


def _standard_error(drawings: Sequence[Drawing]) -> float:
    """Standard error of the median, from the spread between the cases and the uncertainty within each."""
    offsets = np.array([drawing.offset.mm for drawing in drawings])
    spread = 1.4826 * float(np.median(np.abs(offsets - np.median(offsets))))
    within = float(np.median([drawing.offset.standard_error for drawing in drawings]))
    # The median of normal values scatters 1.2533 times as much as their mean.
    return 1.2533 * math.hypot(spread, within) / math.sqrt(len(drawings))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _median_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _verdict(offset: float, error: float, all_round: float) -> str:
    if not abs(offset) > SURE * error:
        return "no clear bias"
    direction = "wide" if offset > 0 else "tight"
    return f"outlined {abs(offset):.1f} mm too {direction}" + (", all round" if all_round >= 0.5 else "")
