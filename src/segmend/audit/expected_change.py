"""Expected Dice of labels before and after a change, by the calibrated evidence of an audit.

It is the D of ``audit.expected_dice``, which takes a mask for an outline of the model. The audit states more for a
label as it is and for its proposal; by any other change, the expected error changes by the factor that D gives.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.audit.by_region import RegionEvidence
from segmend.audit.calibration import Calibration
from segmend.audit.evidence import Evidence, is_evidence
from segmend.audit.examination import MARGIN, Examination
from segmend.audit.folder import AuditFolder
from segmend.core.masks import IGNORE, Mask, bounding_box
from segmend.core.progress import warn
from segmend.core.regions import mask_of
from segmend.data.folder import DataFolder
from segmend.functional.expected_dice import expected_dice


@dataclass(frozen=True, slots=True)
class ExpectedChange:
    """Expected Dice of a label, 0..1.

    Attributes:
        before: as it is given.
        after: as it is changed, over the voxels that are annotated then.
    """

    before: float
    after: float

    @property
    def gain(self) -> float:
        """Expected change of the Dice; negative if the label is expected to become worse."""
        return self.after - self.before

    def from_table(self, before: float | None, proposed: float | None = None) -> ExpectedChange:
        """The same change from the value that the audit states, so that its tables and this agree.

        The audit may have corrected its expectations by labels that are known to be right. The expected error then
        changes by the same factor.

        Args:
            before: ``expected_dice`` of the label in ``audit.csv``; None if it states none.
            proposed: ``expected_dice_proposal``, if the change is this proposal and the audit states it.
        """
        if before is None or (proposed is None and self.before >= 1):
            return self
        if proposed is None:
            proposed = max(0.0, 1 - (1 - before) * (1 - self.after) / (1 - self.before))
        return ExpectedChange(before, proposed)


class ChangeEstimator:
    """Estimates what changes of labels do to their expected Dice.

    It is computed as in the audit: from the same probabilities, temperature and smoothing term, within the same box.

    Args:
        folder: the data folder.
        place: the audit. Where it has no probabilities, nothing is estimated.

    Raises:
        InputError: ``audit.json`` is damaged.
    """

    def __init__(self, folder: DataFolder, place: AuditFolder) -> None:
        self._folder, self._place = folder, place
        summary = place.read_summary() if place.summary.is_file() else {}
        usual, temperature = summary.get("usual"), summary.get("temperature")
        self._slack = {
            name: float(of_label["slack"])
            for name, of_label in (usual.items() if isinstance(usual, dict) else ())
            if isinstance(of_label, dict) and _is_positive(of_label.get("slack"))
        }
        by_label: Mapping[str, object] = temperature if isinstance(temperature, dict) else {}
        found = {name: by_label.get(name, temperature) for name in folder.objects}
        self._temperatures = {name: float(str(value)) for name, value in found.items() if _is_positive(value)}
        self._unknown: set[str] = set()

    def estimate(
        self, case: str, given: NDArray[np.uint8], new: NDArray[np.uint8], labels: Collection[str]
    ) -> dict[str, ExpectedChange]:
        """Estimate the change of some labels of a case; those without probabilities are left out.

        Args:
            case: its name.
            given: ``[*spatial]`` class indices, ``IGNORE`` where not annotated.
            new: the label as changed, of the same shape.
            labels: classes or regions.

        Raises:
            InputError: the probabilities are damaged.
        """
        known = [name for name in labels if name in self._slack and name in self._temperatures]
        file = self._place.evidence(case)
        if len(known) < len(labels) or not is_evidence(file, given.shape, self._folder.classes):
            self._unknown.add(case)
            return {}
        if self._folder.regions:
            return {name: self._of_region(file, name, given, new) for name in known}
        if not known:
            return {}
        examination = _examined(given, Evidence(file), self._temperatures[known[0]])
        indices = {index: name for name, (index,) in self._folder.objects.items() if name in known}
        return {name: _change(examination, index, new, self._slack[name]) for index, name in indices.items()}

    def report_unknown(self) -> None:
        """Warn of cases without an estimate."""
        if self._unknown:
            warn(
                f"the expected Dice of {len(self._unknown)} changed cases is not known, as the audit has no usable "
                f"probabilities of them (the first is {min(self._unknown)})"
            )

    def _of_region(self, file: Path, name: str, given: NDArray[np.uint8], new: NDArray[np.uint8]) -> ExpectedChange:
        classes = self._folder.regions[name]
        evidence = RegionEvidence(file, Evidence(file), classes)
        before, after = (
            np.where(label == IGNORE, np.uint8(IGNORE), mask_of(label, classes).astype(np.uint8))
            for label in (given, new)
        )
        return _change(_examined(before, evidence, self._temperatures[name]), 1, after, self._slack[name])


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < np.inf


def _examined(label: NDArray[np.uint8], evidence: Evidence, temperature: float) -> Examination:
    # Which voxels are issues does not matter here: no probability exceeds an infinite threshold.
    return Examination.of(label, evidence, Calibration(temperature, np.full(evidence.classes, np.inf)))


def _change(examination: Examination, index: int, new: NDArray[np.uint8], slack: float) -> ExpectedChange:
    """The change of one class."""
    given = examination.label
    known, still = given != IGNORE, (given != IGNORE) & (new != IGNORE)
    before, after = (given == index) & known, (new == index) & still
    part = next(examination.parts([index]), None)
    if part is not None:
        box = part.box
    elif after.any():
        box = bounding_box(after, MARGIN)
    else:
        return ExpectedChange(1.0, 1.0)
    probability = examination.probability(index, box)
    outside = after.copy()
    outside[box] = False
    further = 0.0
    if outside.any():
        far = bounding_box(outside)
        further = float(examination.probability(index, far)[outside[far]].sum())
    return ExpectedChange(
        _dice(before[box], probability, known[box], slack),
        _dice(after[box], probability, still[box], slack, int(np.count_nonzero(outside)), further),
    )


def _dice(
    mask: Mask, probability: NDArray[np.float32], known: Mask, slack: float, further: int = 0, further_sum: float = 0.0
) -> float:
    """Expected Dice within a box; ``further`` voxels of the mask, with their probabilities, lie outside of it."""
    exact = probability.astype(np.float64)
    return expected_dice(
        int(np.count_nonzero(mask)) + further,
        float(exact[mask].sum()) + further_sum,
        float(exact[known].sum()) + further_sum,
        slack,
    )
