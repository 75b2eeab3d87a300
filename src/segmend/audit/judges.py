"""Several judges of the same labels: the mean of their calibrated probabilities, and where they disagree.

Each judge is calibrated by itself (``calibration``), as a mean with probabilities that are far too certain is
dominated by these. The mean is the evidence of the audit, which calibrates it once more: it is less certain than its
members where they disagree (Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep
Ensembles, NeurIPS 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.audit.auditor import Auditor
from segmend.audit.by_region import object_views
from segmend.audit.calibration import Calibration
from segmend.audit.evidence import AuditedCase, Evidence, is_evidence, write_evidence
from segmend.audit.examination import Examination
from segmend.audit.external.nnunet_results import NnunetResults
from segmend.audit.external.orientation import Placement
from segmend.audit.external.probabilities import ExternalProbabilities
from segmend.audit.folder import AuditFolder
from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.masks import DICE_OF_NOTHING
from segmend.core.progress import say
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.engine.evidence import without_evidence


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """A row of ``judges.csv``: one class as one judge sees it.

    Attributes:
        judge: its folder.
        label: name of the class or region.
        cases: number of labels that it was compared with.
        competence: median over the cases of the Dice that it expects of its own best outline, as ``best_dice``.
        dice_to_labels: mean Dice of its predictions to the given labels.
        temperature: temperature that calibrates its probabilities; above 1 if they are too certain.
    """

    judge: str
    label: str
    cases: int
    competence: float
    dice_to_labels: float
    temperature: float


@dataclass(frozen=True)
class Verdicts:
    """What several judges say together.

    Attributes:
        rows: of ``judges.csv``; none for a single judge, as ``dice``.
        dice: by case and class or region, the mean pairwise Dice between the predictions of the judges.
    """

    rows: Sequence[JudgeRow] = ()
    dice: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Judges:
    """Judges that are given as files.

    Args:
        given: their probabilities, one or more.
        folder: the data folder.
        cores: the most processes that work on cases at once.
    """

    def __init__(self, given: Sequence[ExternalProbabilities], folder: DataFolder, cores: int) -> None:
        self.given, self.folder, self.cores = list(given), folder, cores
        self._placements: list[Placement] = []

    @classmethod
    def of(
        cls, probabilities: Sequence[Path], results: NnunetResults | None, folder: DataFolder, cores: int
    ) -> Judges | None:
        """The judges in some folders; None if there is none.

        Args:
            probabilities: folders of probabilities or label maps.
            results: of nnU-Net.
            folder: the data folder.
            cores: the most processes that work on cases at once.

        Raises:
            InputError: a folder is given twice.
        """
        first = [ExternalProbabilities(results.root, folder, results.files)] if results else []
        given = [*first, *(ExternalProbabilities(path, folder) for path in probabilities)]
        roots = [judge.root.resolve() for judge in given]
        twice = next((root for place, root in enumerate(roots) if root in roots[:place]), None)
        if twice:
            remedy = "give each judge once; it would count double"
            raise InputError(twice, "is given twice as a judge", remedy, code="duplicate")
        return cls(given, folder, cores) if given else None

    def check(self, cases: Sequence[Case]) -> None:
        """Check the files of all judges by their headers.

        Raises:
            InputError: they cannot be used.
        """
        for judge in self.given:
            judge.check(cases)

    def examine(self, cases: Sequence[Case]) -> Placement:
        """Read everything, and find out how it lies on the labels.

        Returns:
            That of a single judge; of several the cases that are uncertain for any of them, and all remarks.

        Raises:
            InputError: a file is damaged, or does not hold what it should.
        """
        self._placements = [judge.examine(cases, self.cores) for judge in self.given]
        if len(self.given) == 1:
            return self._placements[0]
        return Placement(
            self._placements[0].layout,
            frozenset().union(*(placement.uncertain for placement in self._placements)),
            tuple(
                f"{judge.root}: {remark}"
                for judge, placement in zip(self.given, self._placements, strict=True)
                for remark in placement.remarks
            ),
        )

    def source(self, cases: Sequence[Case]) -> dict[str, object]:
        """What the settings of an audit say of the judges, so that another one is noticed."""
        found: dict[str, dict[str, object]] = {
            str(judge.root.resolve()): {
                "probabilities": {case.name: digest_of(*judge.files(case)) for case in cases},
                **judge.declared,
            }
            for judge in self.given
        }
        return dict(found) if len(found) > 1 else next(iter(found.values()))

    def write(self, cases: Sequence[Case], place: AuditFolder) -> Verdicts:
        """Write the evidence of the cases that have none, after ``examine``.

        Args:
            cases: all that are judged.
            place: the audit.

        Raises:
            InputError: a file is damaged, or does not hold what it should.
        """
        if len(self.given) == 1:
            self._write_one(0, cases, place)
            return Verdicts()
        rows: list[JudgeRow] = []
        calibrations: list[Calibration] = []
        for number, judge in enumerate(self.given):
            say(f"judge {number + 1} of {len(self.given)}: {judge.root}")
            self._write_one(number, cases, place)
            audited = _evidence_of(number, cases, place)
            # Where regions are not annotated, the classes of voxels are not known.
            whole = [each for each in audited if each.case.annotated is None] if self.folder.regions else audited
            calibrations.append(Auditor(self.folder, whole or audited, {}, place, self.cores).calibrate())
            rows += self._rows(str(judge.root), audited, place, calibrations[-1])
        return Verdicts(rows, self._combine(cases, place, calibrations))

    def _write_one(self, number: int, cases: Sequence[Case], place: AuditFolder) -> None:
        """Write the probabilities of a judge, as evidence if it is the only one."""

        def file(case: str) -> Path:
            return place.evidence(case) if len(self.given) == 1 else place.judge(number + 1, case)

        missing = without_evidence(cases, self.folder.classes, file)
        self.given[number].write(missing, self._placements[number].layout, file, self.cores)

    def _rows(
        self, judge: str, audited: Sequence[AuditedCase], place: AuditFolder, calibration: Calibration
    ) -> Iterator[JudgeRow]:
        for folder, cases, _ in object_views(self.folder, audited, place):
            auditor = Auditor(folder, cases, {}, place, self.cores)
            of_view = auditor.calibrate() if self.folder.regions else calibration
            for label, found in auditor.competence(of_view).items():
                yield JudgeRow(judge, label, found.labels, found.best_dice, found.dice, of_view.temperature)

    def _combine(
        self, cases: Sequence[Case], place: AuditFolder, calibrations: Sequence[Calibration]
    ) -> dict[str, Mapping[str, float]]:
        """Write the mean of all judges as evidence; the agreement of their predictions by case."""
        objects, classes = self.folder.objects, self.folder.classes

        def combine(audited: AuditedCase) -> Mapping[str, float]:
            name, label = audited.case.name, audited.case.label
            assert label is not None
            shape = read_grid(label).shape
            seen = [
                Examination.of_evidence(Evidence(place.judge(number, name)), calibration, shape)
                for number, calibration in enumerate(calibrations, start=1)
            ]
            if not is_evidence(place.evidence(name), shape, classes):
                write_evidence(place.evidence(name), mean_probabilities(seen))
            return agreement([each.predicted for each in seen], objects, classes)

        auditor = Auditor(self.folder, _evidence_of(0, cases, place), {}, place, self.cores)
        found = auditor.each(combine, "joining judges", len(self.given))
        return {case.name: dice for case, dice in zip(cases, found, strict=True)}


def mean_probabilities(seen: Sequence[Examination]) -> Iterator[NDArray[np.float32]]:
    """The mean ``[*spatial]`` of calibrated probabilities, of each class in turn.

    Args:
        seen: the same case by each judge.
    """
    for index in range(seen[0].evidence.classes):
        total = seen[0].calibrated(index)
        for each in seen[1:]:
            total += each.calibrated(index)
        total /= np.float32(len(seen))
        yield total


def agreement(
    predictions: Sequence[NDArray[np.uint8]], objects: Mapping[str, tuple[int, ...]], classes: int
) -> dict[str, float]:
    """Mean pairwise Dice between predictions of one case, by object; 1 where none of a pair has it.

    Args:
        predictions: ``[*spatial]`` class indices, two or more.
        objects: name of each to the indices of its classes.
        classes: number of classes, background included.
    """
    joint = [
        np.bincount(first.reshape(-1).astype(np.intp) * classes + second.reshape(-1), minlength=classes**2)
        for first, second in combinations(predictions, 2)
    ]
    return {
        name: float(np.mean([_dice(counts.reshape(classes, classes), list(of_object)) for counts in joint]))
        for name, of_object in objects.items()
    }


def _dice(counts: NDArray[np.int64], of_object: list[int]) -> float:
    """Dice of an object from the voxels ``[C, C]`` of each pair of classes."""
    total = counts[of_object].sum() + counts[:, of_object].sum()
    return float(2 * counts[np.ix_(of_object, of_object)].sum() / total) if total else DICE_OF_NOTHING


def _evidence_of(number: int, cases: Sequence[Case], place: AuditFolder) -> list[AuditedCase]:
    return [AuditedCase(case, Evidence(place.judge(number + 1, case.name))) for case in cases]
