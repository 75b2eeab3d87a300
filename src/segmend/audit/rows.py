"""What was found in a case, as rows of ``audit.csv`` and ``regions.csv``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segmend.audit.evidence import AuditedCase
from segmend.audit.examination import Measurement
from segmend.audit.expected_dice import CohortStatistics, rank_scores
from segmend.audit.proposals import Proposal
from segmend.audit.regions import ErrorKind, Region
from segmend.audit.reliability import BELOW
from segmend.core.case import Quality
from segmend.data.image import Grid
from segmend.functional.offsets.correction import CorrectedOffset

SUSPECT = 0.5
"""Score below which a label differs from the model more than the others of its class do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """A row of ``audit.csv``: one class of one label.

    The defaults are those of a class that neither the label nor the prediction has.

    Attributes:
        rank: 1 is the most suspect; 0 before the rows are ranked.
        case: the case's name.
        label: name of the class.
        score: 0..1, low if the label is suspect.
        suspect: whether the label is probably wrong, for one of these reasons; never in a class that the model has not
            learned.
        reason: "relative" (the score is below ``SUSPECT``), "absolute" (the expected Dice is below
            ``reliability.BELOW``), "both" or "".
        kind: kind of the most important error.
        dice_to_prediction: Dice to the prediction.
        flagged_voxels: number of voxels that confident learning flags.
        expected_dice: expected Dice of the label with the true one (``CohortStatistics.dice``).
        best_dice: Dice that the model expects of its best outline; much below 1 where it is uncertain.
        distance_mm: median distance of the drawn from the predicted surface; NaN if one of them is missing.
        offset_mm: boundary offset, positive outward (over-segmented); NaN where nothing is annotated.
        offset_se_mm: its standard error.
        correction_mm: shrinkage estimate of the boundary shift, outward positive, that would correct the bias of its
            annotator and its own offset, each shrunk by its uncertainty; NaN for expert labels and where nothing is
            drawn.
        correction_se_mm: standard deviation of the correction.
        volume_ratio: drawn volume relative to the predicted one; NaN where nothing is predicted.
        proposal: "none", "regions" (redrawn in places), "shift" (the whole boundary shifted), "erase" (nothing of the
            class is left) or "create" (something of it, where the label has nothing); people decide on the last two.
        expected_dice_proposal: the same of the proposal; NaN without one.
        proposal_score: how much the label needs correction times the Dice expected of the proposal, 0..1, high if it
            should be followed; NaN without one.
        changed_voxels: number of voxels that the proposal changes.
        quality: expert or noisy.
        annotator: who drew it; "" if unknown.
        fold: fold whose model judged it; 0 for the model of a given run.
        in_training_set: whether that model was trained on this very label, which makes the score too good.
        corrected: rounds of ``segmend correct`` that changed it before.
        judges_dice: mean pairwise Dice between the predictions of several judges, low where they disagree; NaN for a
            single judge.
    """

    rank: int = 0
    case: str
    label: str
    score: float = 1.0
    suspect: bool = False
    reason: str = ""
    kind: ErrorKind = ErrorKind.OK
    dice_to_prediction: float = 1.0
    flagged_voxels: int = 0
    expected_dice: float = 1.0
    best_dice: float = 1.0
    distance_mm: float = math.nan
    offset_mm: float = math.nan
    offset_se_mm: float = math.nan
    correction_mm: float = math.nan
    correction_se_mm: float = math.nan
    volume_ratio: float = math.nan
    proposal: str = "none"
    expected_dice_proposal: float = math.nan
    proposal_score: float = math.nan
    changed_voxels: int = 0
    quality: str
    annotator: str = ""
    fold: int = 0
    in_training_set: bool = False
    corrected: int = 0
    judges_dice: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """A row of ``regions.csv``.

    Attributes:
        case: the case's name.
        region: value of its voxels in the map of issues.
        label: name of the class that it should get or lose.
        kind: kind of error.
        given: name of the class that it has.
        suggested: name of the class that it should have.
        voxels: its size.
        mm3: its size (2D: in mm^2).
        thickness_mm: at its thickest.
        score: confidence that the label is wrong here, 0..1, high if it is.
        box: first and last voxel index along each axis, ``first-last`` with blanks between the axes.
        centre_x_mm: its centre in the patient: to the right,
        centre_y_mm: to the front,
        centre_z_mm: to the head.
    """

    case: str
    region: int
    label: str
    kind: ErrorKind
    given: str
    suggested: str
    voxels: int
    mm3: float
    thickness_mm: float
    score: float
    box: str
    centre_x_mm: float
    centre_y_mm: float
    centre_z_mm: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CaseFindings:
    """All that was found in one case.

    Attributes:
        audited: the case.
        measured: each class that the label or the prediction has.
        corrections: of the boundary offset of each class; expert labels and classes that are not drawn have none.
        regions: in which the label is wrong, the most important first.
        proposal: the proposed label.
    """

    audited: AuditedCase
    measured: Mapping[int, Measurement]
    corrections: Mapping[int, CorrectedOffset]
    regions: Sequence[Region]
    proposal: Proposal

    def label_rows(self, names: Sequence[str], references: Mapping[int, CohortStatistics]) -> list[LabelRow]:
        """One row for each foreground class, not ranked yet.

        Args:
            names: of the classes, background first.
            references: reference statistics of each foreground class.
        """
        return [self._label_row(index, names[index], reference) for index, reference in references.items()]

    def region_rows(self, names: Sequence[str], grid: Grid) -> list[RegionRow]:
        """One row for each region.

        Args:
            names: of the classes, background first.
            grid: of the label.
        """
        rows = []
        for number, region in enumerate(self.regions, start=2):
            index = np.zeros(3)
            index[: grid.dimensions] = region.centre
            x, y, z = (grid.affine[:3, :3] @ index + grid.affine[:3, 3]).tolist()
            rows.append(
                RegionRow(
                    case=self.audited.case.name,
                    region=number,
                    label=names[region.label],
                    kind=region.kind,
                    given=names[region.given],
                    suggested=names[region.suggested],
                    voxels=region.voxels,
                    mm3=region.voxels * math.prod(grid.spacing),
                    thickness_mm=region.thickness,
                    score=region.score,
                    box=" ".join(f"{side.start}-{side.stop - 1}" for side in region.box),
                    centre_x_mm=x,
                    centre_y_mm=y,
                    centre_z_mm=z,
                )
            )
        return rows

    def _label_row(self, index: int, name: str, reference: CohortStatistics) -> LabelRow:
        case, audited = self.audited.case, self.audited
        row = LabelRow(
            case=case.name,
            label=name,
            quality=case.quality,
            annotator=case.annotator,
            fold=audited.fold,
            in_training_set=audited.in_training_set,
            corrected=audited.corrected.get(name, 0),
            judges_dice=audited.judges_dice.get(name, math.nan),
        )
        measured, correction = self.measured.get(index), self.corrections.get(index)
        if measured is None:
            return row
        score, offset = reference.score(measured.expectation), measured.offset
        shifted, changed = index in self.proposal.shifted, self.proposal.changed.get(index, 0)
        own = [region for region in self.regions if index in (region.given, region.suggested)]
        expert = case.quality is Quality.EXPERT
        expected = reference.dice(measured.expectation, expert=expert)
        reason = _reason(score < SUSPECT, expected < BELOW) if reference.competent else ""
        row = replace(
            row,
            score=score,
            suspect=bool(reason),
            reason=reason,
            kind=_kind_of_label(own, shifted, bool(reason), offset.mm if offset else 0.0),
            dice_to_prediction=measured.dice,
            flagged_voxels=measured.flagged,
            expected_dice=expected,
            best_dice=measured.expectation.best_dice(reference.slack),
            distance_mm=measured.distance,
            volume_ratio=measured.volume_ratio,
        )
        if offset:
            row = replace(row, offset_mm=offset.mm, offset_se_mm=offset.standard_error)
        if correction:
            row = replace(row, correction_mm=correction.offset, correction_se_mm=correction.error)
        if changed:
            of_proposal = self.proposal.expected[index]
            redrawn = min(1.0, changed / max(measured.differing, 1))
            row = replace(
                row,
                proposal=_kind_of_proposal(measured.expectation.voxels, of_proposal.voxels, shifted),
                proposal_score=(1 - score) * of_proposal.dice(reference.slack),
                expected_dice_proposal=reference.dice(of_proposal, redrawn, expert=expert),
                changed_voxels=changed,
            )
        return row


def rank_rows(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """Return the rows with their ranks, the most suspect first."""
    ranks = rank_scores([row.score for row in rows])
    return sorted([replace(row, rank=rank) for row, rank in zip(rows, ranks, strict=True)], key=lambda row: row.rank)


def shifts_boundary(correction_mm: float, correction_se_mm: float) -> bool:
    """Whether offset correction shifts a boundary: the error of expert and undetected ones is NaN, and they stay."""
    return abs(correction_mm) > correction_se_mm


def _reason(relative: bool, absolute: bool) -> str:
    if relative and absolute:
        return "both"
    return "relative" if relative else "absolute" if absolute else ""


def _kind_of_proposal(before: int, after: int, shifted: bool) -> str:
    """What a proposal does to a class, by its numbers of voxels."""
    if bool(before) != bool(after):
        return "erase" if before else "create"
    return "shift" if shifted else "regions"


def _kind_of_label(regions: Sequence[Region], shifted: bool, suspect: bool, offset: float) -> ErrorKind:
    """The kind of the most important regions, or that of a boundary that is off all round."""
    if not shifted and regions:
        weights: dict[ErrorKind, float] = {}
        for region in regions:
            weights[region.kind] = weights.get(region.kind, 0.0) + region.weight
        return max(weights, key=lambda kind: weights[kind])
    if not shifted and not suspect:
        return ErrorKind.OK
    return ErrorKind.OVER_SEGMENTED if offset > 0 else ErrorKind.UNDER_SEGMENTED
