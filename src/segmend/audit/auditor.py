"""Audit of all cases: calibrates, measures and compares their labels, and proposes corrections."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segmend.audit.annotators import AnnotatorComparison, AnnotatorRow, ComparedDrawings, summarise_annotators
from segmend.audit.calibration import Calibration, Sample
from segmend.audit.checks import Finding, find_mirroring
from segmend.audit.cohort import Cohort
from segmend.audit.evidence import AuditedCase
from segmend.audit.examination import Examination, Measurement, measure_label
from segmend.audit.expected_dice import CohortStatistics, Expectation
from segmend.audit.folder import AuditFolder
from segmend.audit.proposals import keep_label, propose
from segmend.audit.regions import find_regions, issue_map
from segmend.audit.reliability import Reliability
from segmend.audit.rows import CaseFindings, LabelRow, RegionRow, rank_rows
from segmend.core.case import Case, Quality
from segmend.core.grid import slice_axis
from segmend.core.masks import IGNORE
from segmend.core.parallel import fitting_workers, in_order
from segmend.core.progress import track
from segmend.core.regions import completed, possible_classes
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_grid, write_label
from segmend.data.raters import read_drawing
from segmend.functional.offsets.correction import CorrectedOffset, MeasuredOffset, shrink_offsets, teacher_bias
from segmend.metrics.overlap import dice

_Result = TypeVar("_Result")

_CALIBRATION_PROBABILITIES = 2**24
"""Number of probabilities used for calibration, over all cases together."""
_KEPT_BYTES = 2**27
"""Memory for examinations that are kept from measuring labels to judging them, an equal part for each; larger ones are
made again."""
_BYTES_PER_VOXEL = 48
"""Memory of a process that measures or judges a case."""


@dataclass(frozen=True, slots=True)
class Competence:
    """How well evidence knows a class.

    Attributes:
        labels: number of labels that it was compared with.
        best_dice: median over the cases of the Dice that it expects of its own best outline; NaN without a case.
        dice: mean Dice of its predictions to the labels; NaN without a case.
    """

    labels: int
    best_dice: float
    dice: float


@dataclass(frozen=True, eq=False)
class _Measured:
    """What was measured of a case before the cases are compared.

    Attributes:
        classes: each class that the label or the prediction has.
        findings: whether the label fits better when mirrored.
        drawings: the labels of all annotators.
        examination: where there is room to keep it.
    """

    classes: dict[int, Measurement]
    findings: list[Finding]
    drawings: ComparedDrawings
    examination: Examination | None


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        temperature: that calibrates the evidence; of each region by itself.
        thresholds: probability above which a voxel confidently belongs to a class, by class; infinite if none does.
        references: reference statistics of each foreground class or region, by name.
        labels: rows of ``audit.csv``, ranked.
        regions: rows of ``regions.csv``.
        annotators: rows of ``annotators.csv``.
        findings: labels that fit better when mirrored.
        reliability: of the expected Dice, of each foreground class or region, by name.
    """

    temperature: float | Mapping[str, float]
    thresholds: Mapping[str, float]
    references: Mapping[str, CohortStatistics]
    labels: Sequence[LabelRow]
    regions: Sequence[RegionRow]
    annotators: Sequence[AnnotatorRow]
    findings: Sequence[Finding]
    reliability: Mapping[str, Reliability]


class Auditor:
    """Audits the labels of a data folder; each process holds one case in memory, and more only while they are small.

    Args:
        folder: the data folder.
        cases: those to judge.
        raters: folders of further labels of the same cases, by rater.
        out: where proposals and issues are written.
        cores: the most processes that work on cases at once; fewer where memory is short. Results do not depend on it.
    """

    def __init__(
        self,
        folder: DataFolder,
        cases: Sequence[AuditedCase],
        raters: Mapping[str, Path],
        out: AuditFolder,
        cores: int = 1,
    ) -> None:
        self.folder, self.cases, self.out, self.cores = folder, cases, out, cores
        self.names = list(folder.labels)
        self._cohort = Cohort.of(cases)
        self._comparison = AnnotatorComparison(folder, raters)

    def run(self) -> Audit:
        """Run the whole audit."""
        calibration = self.calibrate()

        def examine(audited: AuditedCase) -> Examination:
            return Examination.of(self._label(audited)[0], audited.evidence, calibration)

        names = [audited.case.name for audited in self.cases]
        of_case = dict(
            zip(
                names,
                self._each(lambda audited: self._measure(audited, examine(audited)), self.cases, "measuring labels"),
                strict=True,
            )
        )
        measured = {name: found.classes for name, found in of_case.items()}
        kept = {name: found.examination for name, found in of_case.items() if found.examination}
        annotators = summarise_annotators(
            [each for found in of_case.values() for each in found.drawings.measured],
            [each for found in of_case.values() for each in found.drawings.ratings],
        )
        findings = [finding for found in of_case.values() for finding in found.findings]
        del of_case
        voxel = float(np.median([min(self._grid(audited).spacing) for audited in self.cases]))
        references = self._cohort.references(measured, len(self.names), voxel)
        corrections = self._corrections(measured)
        unknown = {self.names[index] for index, of_class in references.items() if not of_class.competent}

        def judge(audited: AuditedCase) -> tuple[list[LabelRow], list[RegionRow]]:
            name, annotated = audited.case.name, audited.case.annotated
            examination = kept.pop(name, None) or examine(audited)
            found = self._judge(audited, examination, measured[name], corrections.get(name, {}), references)
            labels = found.label_rows(self.names, references)
            regions = found.region_rows(self.names, self._grid(audited))
            if annotated is None:
                return labels, regions
            return (
                [row for row in labels if row.label in annotated],
                [row for row in regions if row.label in annotated],
            )

        rows = list(self._each(judge, self.cases, "finding regions"))
        return Audit(
            temperature=calibration.temperature,
            thresholds=dict(zip(self.names, calibration.thresholds.tolist(), strict=True)),
            references={self.names[index]: of_class for index, of_class in references.items()},
            labels=rank_rows([row for labels, _ in rows for row in labels]),
            regions=[row for _, regions in rows for row in regions],
            # A model that has not learned a class must not speak of people who drew it.
            annotators=[row for row in annotators if row.label not in unknown],
            findings=findings,
            reliability={
                self.names[index]: of_class
                for index, of_class in self._cohort.reliability(measured, references).items()
            },
        )

    def _each(
        self, work: Callable[[AuditedCase], _Result], cases: Sequence[AuditedCase], what: str, held: int = 1
    ) -> Iterator[_Result]:
        """The result of each case, by several processes."""
        largest = max((math.prod(self._grid(audited).shape) for audited in cases), default=1)
        workers = fitting_workers(self.cores, held * _BYTES_PER_VOXEL * largest)
        return track(in_order(work, cases, workers), what, len(cases))

    def calibrate(self) -> Calibration:
        """Calibrate the evidence of all cases together."""
        classes = len(self.names)
        most = max(20, min(5000, _CALIBRATION_PROBABILITIES // (len(self._cohort.norm) * classes**2)))
        chosen = [audited for audited in self.cases if audited.case.name in self._cohort.norm]

        def sample(audited: AuditedCase) -> Sample:
            return Sample.of(self._annotated_label(audited), audited.evidence, most)

        return Calibration.of(list(self._each(sample, chosen, "calibrating")), classes)

    def competence(self, calibration: Calibration) -> dict[str, Competence]:
        """How well the evidence knows each foreground class, by name.

        Args:
            calibration: of the evidence.
        """

        def compare(audited: AuditedCase) -> dict[int, tuple[Expectation, float]]:
            label, _ = self._label(audited)
            examination = Examination.of_evidence(audited.evidence, calibration, label.shape).of_other(label)
            unknown = self._not_annotated(audited.case)
            return {
                part.index: (part.expectation(part.given), dice(part.given, part.predicted))
                for part in examination.parts()
                if part.index not in unknown
            }

        found = list(self._each(compare, self.cases, "comparing judges"))
        competence = {}
        for index, name in enumerate(self.names[1:], start=1):
            of_class = [each[index] for each in found if index in each]
            statistics = CohortStatistics.of([expectation for expectation, _ in of_class], [], 1.0)
            mean = float(np.mean([value for _, value in of_class])) if of_class else math.nan
            best = statistics.best_dice if of_class else math.nan
            competence[name] = Competence(len(of_class), best, mean)
        return competence

    def each(self, work: Callable[[AuditedCase], _Result], what: str, held: int) -> Iterator[_Result]:
        """The result of each case, by several processes.

        Args:
            work: what is done with a case.
            what: in two or three words, to show the progress.
            held: how many examinations of a case it holds at once.
        """
        return self._each(work, self.cases, what, held)

    def _measure(self, audited: AuditedCase, examination: Examination) -> _Measured:
        grid = self._grid(audited)
        # What was completed from the evidence agrees with it, and must not count as a good label.
        unknown = self._not_annotated(audited.case)
        measured = {
            index: of_class
            for index, of_class in measure_label(examination, grid.spacing).items()
            if index not in unknown
        }
        findings = []
        for axis, before, after in find_mirroring(examination.label, examination.predicted):
            detail = f"mirrored along axis {axis} it fits the prediction better (Dice {after:.2f}, not {before:.2f})"
            findings.append(Finding(audited.case.name, "", "mirrored", 0, detail))
        compared = self._compare(audited.case, examination, grid, measured)
        fits = examination.bytes <= _KEPT_BYTES // len(self.cases)
        return _Measured(measured, findings, compared, examination if fits else None)

    def _corrections(self, measured: Mapping[str, Mapping[int, Measurement]]) -> dict[str, dict[int, CorrectedOffset]]:
        """By case and class, the correction that OffsetCorrection would derive from the offsets."""
        offsets = [
            MeasuredOffset(
                case.name, case.annotator, case.quality is Quality.EXPERT, (index, None), of_class.low_confidence
            )
            for case in (audited.case for audited in self.cases if not audited.uncertain_alignment)
            for index, of_class in measured[case.name].items()
            if of_class.low_confidence
        ]
        corrections: dict[str, dict[int, CorrectedOffset]] = {}
        for each in shrink_offsets(offsets, teacher_bias(offsets)):
            corrections.setdefault(each.measured.case, {})[each.measured.kind[0]] = each
        return corrections

    def _judge(
        self,
        audited: AuditedCase,
        examination: Examination,
        measured: Mapping[int, Measurement],
        corrections: Mapping[int, CorrectedOffset],
        references: Mapping[int, CohortStatistics],
    ) -> CaseFindings:
        grid = self._grid(audited)
        judged = {index for index, of_class in references.items() if of_class.competent}
        tolerances = {index: of_class.tolerance for index, of_class in references.items()}
        offsets = {
            index: of_class.offset for index, of_class in measured.items() if of_class.offset and index in judged
        }
        regions = [
            region
            for region in find_regions(examination, grid.spacing, tolerances, slice_axis(grid))
            if {region.given, region.suggested} <= judged | {0}
        ]
        if audited.uncertain_alignment:
            proposal = keep_label(examination)
        else:
            proposal = propose(examination, regions, offsets, tolerances, grid.spacing)
        self._store(audited.case, proposal.label, issue_map(examination, regions))
        return CaseFindings(
            audited=audited, measured=measured, corrections=corrections, regions=regions, proposal=proposal
        )

    def _compare(
        self, case: Case, examination: Examination, grid: Grid, measured: Mapping[int, Measurement]
    ) -> ComparedDrawings:
        return self._comparison.compare(case, examination, grid, measured)

    def _store(self, case: Case, proposal: NDArray[np.uint8], issues: NDArray[np.uint8]) -> None:
        """Write the proposed label and the map of issues over the label."""
        assert case.label is not None
        ending = self.folder.file_ending
        if unknown := self._not_annotated(case):
            proposal = np.where(np.isin(proposal, unknown), np.uint8(0), proposal)
        write_label(self.out.proposal(case.name, ending), self.folder.to_values(proposal), like=case.label)
        write_label(self.out.issues(case.name, ending), issues, like=case.label)

    def _grid(self, audited: AuditedCase) -> Grid:
        assert audited.case.label is not None
        return read_grid(audited.case.label)

    def _not_annotated(self, case: Case) -> list[int]:
        """Classes that were not annotated in a case."""
        if case.annotated is None:
            return []
        return [index for index, name in enumerate(self.names) if index and name not in case.annotated]

    def _annotated_label(self, audited: AuditedCase) -> NDArray[np.uint8]:
        """The label without what it was completed by."""
        label, unknown = self._label(audited)[0], self._not_annotated(audited.case)
        return np.where(np.isin(label, unknown), np.uint8(IGNORE), label) if unknown else label

    def _label(self, audited: AuditedCase) -> tuple[NDArray[np.uint8], Grid]:
        """The label, with the most probable class where it leaves several open: nothing is wrong there."""
        assert audited.case.label is not None
        grid = read_grid(audited.case.label)
        label = read_drawing(audited.case.label, self.folder, grid)
        if audited.case.annotated is not None:
            possible = possible_classes(audited.case.annotated, self.folder.objects, self.folder.classes)
            evidence = audited.evidence
            label = completed(label, map(evidence.probability, range(evidence.classes)), possible)
        return label, grid
