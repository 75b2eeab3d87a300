"""The rows of ``audit.csv``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from segmend.audit.kinds import Kind
from segmend.audit.measurement import Measurement
from segmend.audit.proposal import Proposal
from segmend.audit.regions import Region
from segmend.audit.scores import CohortStatistics, ranks
from segmend.functional.offsets.correction import CorrectedOffset

SUSPECT = 0.5
"""Score below which a label is suspect even if no region of it is."""


def is_moved(correction_mm: float, correction_se_mm: float) -> bool:
    """Whether offset correction moves a surface; if expert or undetected, its error is NaN and it does not move."""
    return abs(correction_mm) > correction_se_mm


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A row of ``audit.csv``: one class of one label.

    Attributes:
        rank: 1 is the most suspect.
        case: the case's name.
        label: name of the class.
        score: 0..1, low if the label is suspect.
        kind: kind of the most important error.
        dice_to_prediction: Dice to the prediction.
        flagged_voxels: number of voxels that confident learning flags.
        expected_dice: Dice that the model expects of the label.
        best_dice: Dice that it expects of the best outline; much below 1 where it is uncertain.
        distance_mm: median distance of the drawn from the predicted surface; NaN if one of them is missing.
        offset_mm: how much too wide (positive) or too tight the boundary was drawn; NaN where nothing is drawn.
        offset_se_mm: its standard error.
        correction_mm: shrinkage estimate of the boundary shift, outward positive, that would correct the bias of its
            annotator and its own offset, each shrunk by its uncertainty; NaN for expert labels and where nothing is
            drawn.
        correction_se_mm: standard deviation of the correction.
        volume_ratio: drawn volume relative to the predicted one; NaN where nothing is predicted.
        proposal: "none", "regions" (redrawn in places) or "shift" (the whole boundary moved).
        proposal_score: how much the label needs correction times the Dice expected of the proposal, 0..1, high if it
            should be followed; NaN without one.
        changed_voxels: number of voxels that the proposal changes.
        quality: expert or noisy.
        annotator: who drew it; "" if unknown.
        fold: fold whose model judged it; 0 for the model of a given run.
        in_training_set: whether that model was trained on this very label, which makes the score too good.
        corrected: rounds of ``segmend correct`` that changed it before.
    """

    rank: int
    case: str
    label: str
    score: float
    kind: Kind
    dice_to_prediction: float
    flagged_voxels: int
    expected_dice: float
    best_dice: float
    distance_mm: float
    offset_mm: float
    offset_se_mm: float
    correction_mm: float
    correction_se_mm: float
    volume_ratio: float
    proposal: str
    proposal_score: float
    changed_voxels: int
    quality: str
    annotator: str
    fold: int
    in_training_set: bool
    corrected: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a label and its evidence come from; attributes as of ``LabelRow``."""

    case: str
    quality: str
    annotator: str
    fold: int
    in_training_set: bool


def label_row(
    origin: Origin,
    names: Sequence[str],
    index: int,
    measured: Measurement | None,
    undo: CorrectedOffset | None,
    usual: CohortStatistics,
    regions: Sequence[Region],
    proposal: Proposal,
    corrected: int,
) -> LabelRow:
    """The row of one class of a case, not ranked yet.

    Args:
        origin: of the label.
        names: of the classes.
        index: the class.
        measured: None if neither the label nor the prediction has the class.
        undo: None for expert labels and where nothing is drawn.
        usual: of the class.
        regions: of the case.
        proposal: of the case.
        corrected: rounds that changed it before.
    """
    own = [region for region in regions if index in (region.given, region.suggested)]
    expectation = measured.expectation if measured else None
    score = usual.score(expectation) if expectation else 1.0
    offset = measured.offset if measured else None
    moved, changed = index in proposal.moved, proposal.changed.get(index, 0)
    return LabelRow(
        rank=0,
        case=origin.case,
        label=names[index],
        score=score,
        kind=_kind(own, moved, score, offset.mm if offset else 0.0),
        dice_to_prediction=measured.dice if measured else 1.0,
        flagged_voxels=measured.flagged if measured else 0,
        expected_dice=expectation.dice(usual.slack) if expectation else 1.0,
        best_dice=expectation.best_dice(usual.slack) if expectation else 1.0,
        distance_mm=measured.distance if measured else math.nan,
        offset_mm=offset.mm if offset else math.nan,
        offset_se_mm=offset.standard_error if offset else math.nan,
        correction_mm=undo.offset if undo else math.nan,
        correction_se_mm=undo.error if undo else math.nan,
        volume_ratio=measured.volume_ratio if measured else math.nan,
        proposal=("shift" if moved else "regions") if changed else "none",
        proposal_score=(1 - score) * proposal.expected[index].dice(usual.slack) if changed else math.nan,
        changed_voxels=changed,
        quality=origin.quality,
        annotator=origin.annotator,
        fold=origin.fold,
        in_training_set=origin.in_training_set,
        corrected=corrected,
    )


def ranked(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """The rows with their ranks, the most suspect first."""
    placed = [replace(row, rank=rank) for row, rank in zip(rows, ranks([row.score for row in rows]), strict=True)]
    return sorted(placed, key=lambda row: row.rank)


def _kind(regions: Sequence[Region], moved: bool, score: float, offset: float) -> Kind:
    """The kind of the most important region, or that of a boundary that is off all round."""
    if not moved and regions:
        weights: dict[Kind, float] = {}
        for region in regions:
            weights[region.kind] = weights.get(region.kind, 0.0) + region.weight
        return max(weights, key=lambda kind: weights[kind])
    if not moved and score >= SUSPECT:
        return Kind.OK
    return Kind.BOUNDARY_OUT if offset > 0 else Kind.BOUNDARY_IN
