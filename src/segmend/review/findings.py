"""What an audit found, as the page lists it: rows of ``audit.csv`` by column, and the regions of each case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.audit.folder import AuditFolder
from segmend.audit.report.reading import Row, findings_by_case, read_rows
from segmend.core.errors import InputError, did_you_mean
from segmend.data.folder import DataFolder
from segmend.data.names import canonical

_TEXT = ("case", "label", "kind", "reason", "proposal", "quality", "annotator")
_WHOLE = ("rank", "changed_voxels", "flagged_voxels", "fold", "corrected")
_NUMBERS = (
    *("score", "expected_dice", "best_dice", "proposal_score", "expected_dice_proposal", "expected_gain"),
    *("dice_to_prediction", "judges_dice", "correction_mm", "correction_se_mm", "offset_mm"),
)
_YES_NO = ("suspect", "in_training_set")


@dataclass(frozen=True)
class RegionFinding:
    """A suspect region of a label.

    Attributes:
        number: value of its voxels in the map of issues.
        label: the row of ``audit.csv`` that it belongs to.
        kind: kind of error.
        given: name of the class that it has.
        suggested: name of the class that it should have.
        voxels: its size.
        score: confidence that the label is wrong here, 0..1.
        box: first and last voxel index along each axis.
        centre: its centre in the patient, RAS mm.
    """

    number: int
    label: str
    kind: str
    given: str
    suggested: str
    voxels: int
    score: float
    box: tuple[tuple[int, int], ...]
    centre: tuple[float, float, float]

    @classmethod
    def of(cls, row: Row) -> RegionFinding:
        """From a row of ``regions.csv``.

        Raises:
            KeyError, ValueError: the row is damaged.
        """
        sides = [side.split("-") for side in row["box"].split()]
        x, y, z = (float(row[f"centre_{axis}_mm"]) for axis in "xyz")
        return cls(
            number=int(row["region"]),
            label=row["label"],
            kind=row["kind"],
            given=row["given"],
            suggested=row["suggested"],
            voxels=int(row["voxels"]),
            score=float(row["score"]),
            box=tuple((int(first), int(last)) for first, last in sides),
            centre=(x, y, z),
        )

    def as_json(self, affine: NDArray[np.float64]) -> dict[str, Any]:
        """What the page needs.

        Args:
            affine: ``[4, 4]``, voxel index to RAS mm.
        """
        centre = np.linalg.solve(affine, [*self.centre, 1.0])[:3]
        dimensions = len(self.box)
        return {
            "number": self.number,
            "label": self.label,
            "kind": self.kind,
            "given": self.given,
            "suggested": self.suggested,
            "voxels": self.voxels,
            "score": self.score,
            "box": self.box,
            "centre": [round(position) for position in centre[:dimensions].tolist()],
        }


class Findings:
    """The tables of an audit. Nothing here depends on the number or size of scans but their rows.

    Args:
        place: the audit.
        folder: the data folder that was audited.

    Raises:
        InputError: the audit is not finished, damaged, or not of this data folder.
    """

    def __init__(self, place: AuditFolder, folder: DataFolder) -> None:
        self.place, self.mark = place, place.mark
        self.table = _ranked(place.read_labels())
        self.remarks: list[str] = place.read_summary()["remarks"]
        self.rows: dict[tuple[str, str], int] = {
            (case, label): number
            for number, (case, label) in enumerate(zip(self.table["case"], self.table["label"], strict=True))
        }
        self.labels_of: dict[str, list[str]] = {}
        for case, label in self.rows:
            self.labels_of.setdefault(case, []).append(label)
        _check_names(place, folder, self)

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """Columns of all rows, the most suspect first, as JSON has them: unknown numbers are None."""
        found: dict[str, list[Any]] = {}
        for column in (*_TEXT, *_WHOLE, *_NUMBERS, *_YES_NO):
            if column not in self.table:
                continue
            cells = self.table[column].tolist()
            if column in _WHOLE:
                cells = [None if math.isnan(cell) else int(cell) for cell in cells]
            elif column in _NUMBERS:
                cells = [None if math.isnan(cell) else cell for cell in cells]
            elif column in _YES_NO:
                cells = [bool(cell) for cell in cells]
            found[column] = cells
        return found

    @cached_property
    def suspect(self) -> list[bool]:
        """Whether each label is suspect, in the order of the rows."""
        return self.columns["suspect"]

    def proposal(self, case: str, label: str) -> str:
        """How the audit proposes to change a label: none, regions or shift."""
        return str(self.table["proposal"].iat[self.rows[case, label]])

    @cached_property
    def regions(self) -> Mapping[str, Sequence[RegionFinding]]:
        """The regions of each case, the most important first.

        Raises:
            InputError: the table is missing or damaged.
        """
        found: dict[str, list[RegionFinding]] = {}
        try:
            for row in read_rows(self.place.regions):
                found.setdefault(row["case"], []).append(RegionFinding.of(row))
        except (KeyError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            problem = f"is damaged ({error!r})"
            raise InputError(
                self.place.regions, problem, "run the same 'segmend audit' again", code="damaged"
            ) from error
        return found

    @cached_property
    def checks(self) -> Mapping[str, Sequence[str]]:
        """Findings of the checks without a model, in words, by case."""
        return findings_by_case(read_rows(self.place.checks))

    def named(self, case: str) -> str:
        """The name of an audited case, whatever the Unicode form in which it is given.

        Raises:
            InputError: the audit has no such case.
        """
        name = self._by_form.get(canonical(case))
        if name is None:
            remedy = did_you_mean(case, self.labels_of)
            raise InputError("case", f"'{case}' was not audited", remedy, code="unknown-name")
        return name

    @cached_property
    def _by_form(self) -> dict[str, str]:
        return {canonical(name): name for name in self.labels_of}


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by rank, with a column ``suspect`` where the audit has none."""
    if "rank" in table:
        table = table.sort_values("rank", kind="stable", ignore_index=True)
    if "suspect" in table:
        return table
    from segmend.audit.rows import SUSPECT  # imports torch, which takes seconds

    return table.assign(suspect=table["score"] < SUSPECT)


def _check_names(place: AuditFolder, folder: DataFolder, found: Findings) -> None:
    """Make sure that the audit is of this data folder."""
    for label in {label for _, label in found.rows}:
        if label not in folder.objects:
            raise InputError(
                place.labels, f"judges a label '{label}'", did_you_mean(label, folder.objects), code="mismatch"
            )
    labelled = {case.name for case in folder.cases if case.label is not None}
    gone = sorted(found.labels_of.keys() - labelled)
    if gone:
        more = f" and of {len(gone) - 1} more" if len(gone) > 1 else ""
        problem = f"has no label of case '{gone[0]}'{more}, which was audited"
        raise InputError(folder.root, problem, "give the folder of the audit as `data`", code="mismatch")
    classes = folder.labels | {"ignore": folder.ignore}
    audited = place.read_settings().get("classes", classes)
    if audited != classes:
        problem = f"names the classes {classes}, but those that were audited are {audited}"
        raise InputError(
            folder.root / "dataset.json", problem, "restore it, or audit the folder again", code="mismatch"
        )
