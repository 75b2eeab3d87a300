"""Audit of all cases: calibrates, measures, compares, and writes the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.audit.annotators import Bias
from segmend.audit.calibration import Calibration, Sample
from segmend.audit.checks import Finding, mirrored
from segmend.audit.comparison import Comparison
from segmend.audit.evidence import Evidence
from segmend.audit.examination import Examination
from segmend.audit.folder import AuditFolder
from segmend.audit.measurement import Measurement, measure_label
from segmend.audit.proposal import propose, unchanged
from segmend.audit.region_rows import RegionRow, region_rows
from segmend.audit.regions import find_regions, issue_map
from segmend.audit.rows import LabelRow, Origin, label_row, ranked
from segmend.audit.scores import CohortStatistics
from segmend.core.case import Case, Quality
from segmend.core.grid import slice_axis
from segmend.core.progress import track
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid, write_label
from segmend.data.raters import read_drawing
from segmend.functional.offsets.correction import CorrectedOffset, MeasuredOffset, shrink_offsets, teacher_bias

_SAMPLED = 2**24
"""Number of probabilities used for calibration, over all cases together."""


@dataclass(frozen=True)
class AuditedCase:
    """A case with its evidence.

    Attributes:
        case: with a label that is shown.
        evidence: on the label's own grid.
        fold: of the model that gave the evidence; 0 if it is that of a given run.
        in_training_set: whether that model was trained on this very label.
        corrected: by label, rounds of correction that changed it before.
        doubtful: whether the evidence may not lie on the label; then no change is proposed.
    """

    case: Case
    evidence: Evidence
    fold: int = 0
    in_training_set: bool = False
    corrected: Mapping[str, int] = field(default_factory=dict)
    doubtful: bool = False


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        calibration: of the evidence.
        usual: of each foreground class.
        labels: rows of ``audit.csv``, ranked.
        regions: rows of ``regions.csv``.
        biases: rows of ``annotators.csv``.
        findings: labels that fit better when mirrored.
    """

    calibration: Calibration
    usual: Mapping[int, CohortStatistics]
    labels: Sequence[LabelRow]
    regions: Sequence[RegionRow]
    biases: Sequence[Bias]
    findings: Sequence[Finding]


class Auditor:
    """Audits the labels of a data folder; holds one case in memory at a time.

    Args:
        folder: the data folder.
        cases: those to judge.
        raters: folders of further labels of the same cases, by rater.
        out: where proposals and issues are written.
    """

    def __init__(
        self, folder: DataFolder, cases: Sequence[AuditedCase], raters: Mapping[str, Path], out: AuditFolder
    ) -> None:
        self.folder, self.cases, self.out = folder, cases, out
        self.names = list(folder.labels)
        # Memorised labels look better than they are and must not set the reference.
        self._unseen = {case.case.name for case in cases if not case.in_training_set} or {
            case.case.name for case in cases
        }
        self._comparison = Comparison(folder, raters)
        self._findings: list[Finding] = []

    def run(self) -> Audit:
        """Run the whole audit."""
        calibration = self._calibrate()
        measured = {
            audited.case.name: self._measure(audited, calibration) for audited in track(self.cases, "measuring labels")
        }
        usual, undo = self._usual(measured), self._undo(measured)
        rows: list[LabelRow] = []
        regions: list[RegionRow] = []
        for audited in track(self.cases, "finding regions"):
            of_labels, of_regions = self._judge(audited, calibration, measured[audited.case.name], undo, usual)
            rows += of_labels
            regions += of_regions
        return Audit(calibration, usual, ranked(rows), regions, self._comparison.biases(), self._findings)

    def _calibrate(self) -> Calibration:
        classes = len(self.names)
        most = max(20, min(5000, _SAMPLED // (len(self._unseen) * classes**2)))
        chosen = [audited for audited in self.cases if audited.case.name in self._unseen]
        samples = [
            Sample.of(self._label(audited)[0], audited.evidence, most) for audited in track(chosen, "calibrating")
        ]
        return Calibration.of(samples, classes)

    def _measure(self, audited: AuditedCase, calibration: Calibration) -> dict[int, Measurement]:
        label, grid = self._label(audited)
        examination = Examination.of(label, audited.evidence, calibration)
        measured = measure_label(examination, grid.spacing)
        for axis, before, after in mirrored(label, examination.predicted):
            detail = f"mirrored along axis {axis} it fits the prediction better (Dice {after:.2f}, not {before:.2f})"
            self._findings.append(Finding(audited.case.name, "", "mirrored", 0, detail))
        self._compare(audited.case, examination, grid, measured)
        return measured

    def _usual(self, measured: Mapping[str, Mapping[int, Measurement]]) -> dict[int, CohortStatistics]:
        voxel = float(np.median([min(self._grid(audited).spacing) for audited in self.cases]))
        usual = {}
        for index in range(1, len(self.names)):
            of_class = [
                classes[index] for name, classes in measured.items() if name in self._unseen and index in classes
            ]
            usual[index] = CohortStatistics.of(
                [measurement.expectation for measurement in of_class],
                [measurement.distance for measurement in of_class],
                voxel,
            )
        return usual

    def _undo(self, measured: Mapping[str, Mapping[int, Measurement]]) -> dict[tuple[str, int], CorrectedOffset]:
        """By case and class, the correction that OffsetCorrection would derive from the offsets."""
        offsets = [
            MeasuredOffset(case.name, case.annotator, case.quality is Quality.EXPERT, (index, None), of_class.faint)
            for case in (audited.case for audited in self.cases if not audited.doubtful)
            for index, of_class in measured[case.name].items()
            if of_class.faint
        ]
        corrected = shrink_offsets(offsets, teacher_bias(offsets))
        return {(each.measured.case, each.measured.kind[0]): each for each in corrected}

    def _judge(
        self,
        audited: AuditedCase,
        calibration: Calibration,
        measured: Mapping[int, Measurement],
        undo: Mapping[tuple[str, int], CorrectedOffset],
        usual: Mapping[int, CohortStatistics],
    ) -> tuple[list[LabelRow], list[RegionRow]]:
        label, grid = self._label(audited)
        examination = Examination.of(label, audited.evidence, calibration)
        tolerances = {index: of_class.tolerance for index, of_class in usual.items()}
        offsets = {index: of_class.offset for index, of_class in measured.items() if of_class.offset}
        regions = find_regions(examination, grid.spacing, tolerances, slice_axis(grid))
        proposal = (
            unchanged(examination)
            if audited.doubtful
            else propose(examination, regions, offsets, tolerances, grid.spacing)
        )
        case = audited.case
        self._store(case, proposal.label, issue_map(examination, regions))
        origin = Origin(case.name, case.quality, case.annotator, audited.fold, audited.in_training_set)
        rows = [
            label_row(
                origin,
                self.names,
                index,
                measured.get(index),
                undo.get((case.name, index)),
                usual[index],
                regions,
                proposal,
                audited.corrected.get(self.names[index], 0),
            )
            for index in usual
        ]
        return rows, region_rows(case.name, self.names, regions, grid)

    def _compare(self, case: Case, examination: Examination, grid: Grid, measured: Mapping[int, Measurement]) -> None:
        self._comparison.add(case, examination, grid, measured)

    def _store(self, case: Case, proposal: NDArray[np.uint8], issues: NDArray[np.uint8]) -> None:
        """Write the proposed label and the map of issues over the label."""
        assert case.label is not None
        ending = self.folder.file_ending
        write_label(self.out.proposal(case.name, ending), self.folder.to_values(proposal), like=case.label)
        write_label(self.out.issues(case.name, ending), issues, like=case.label)

    def _grid(self, audited: AuditedCase) -> Grid:
        assert audited.case.label is not None
        return read_grid(audited.case.label)

    def _label(self, audited: AuditedCase) -> tuple[NDArray[np.uint8], Grid]:
        assert audited.case.label is not None
        grid = read_grid(audited.case.label)
        return read_drawing(audited.case.label, self.folder, grid), grid
