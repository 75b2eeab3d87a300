"""Changes to the labels of a data folder, round by round."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.masks import IGNORE, bounding_box
from segmend.core.paths import is_file
from segmend.data.tables import Row, read_table

FILE = "corrections.csv"

REASONS = ("accepted", "replaced", "score", "offset", "neighbour", "ignored")
"""Why a label changes: a person accepted it or gave another one; its score; the offset of its boundary; voxels that go
to or come from another class, which was corrected; or issues that are ignored from now on."""

_REMEDY = "restore it, or delete it to forget them"


@dataclass(frozen=True, slots=True)
class Correction:
    """A row of ``corrections.csv``: one class of one label.

    Attributes:
        round: 1 for the first time that a data folder was corrected.
        case: the case's name.
        label: name of the class.
        kind: kind of the error.
        reason: why it was changed, one of ``REASONS``.
        score: of the label, as of ``audit.csv``.
        proposal: how it was changed: as in ``audit.csv``, the distance by which its surface was moved, the numbers of
            the regions that were accepted, or the file that replaces it.
        proposal_score: how sure the proposal was; "" if none was followed.
        added_voxels: number of voxels that the class gained.
        removed_voxels: number of voxels that it lost.
        box: first and last voxel index of the change along each axis, ``first-last`` with blanks between the axes.
        changed_mm3: volume of the voxels that it gained or lost (2D: area in mm^2).
        distance_mm: average symmetric distance between its surfaces before and after; "" where one is missing.
        ignored_voxels: number of its voxels, or of those that it might lack, that are ignored from now on.
        expected_dice_before: Dice that the audit expects of the label as it was; "" if that is not known.
        expected_dice_after: the same of the label as it is now.
        reader: who accepted or replaced it; "" if no person did, or none was stated.
        comment: their remark.
    """

    round: int
    case: str
    label: str
    kind: str
    reason: str
    score: str
    proposal: str
    proposal_score: str
    added_voxels: int
    removed_voxels: int
    box: str
    changed_mm3: str = ""
    distance_mm: str = ""
    ignored_voxels: int = 0
    expected_dice_before: str = ""
    expected_dice_after: str = ""
    reader: str = ""
    comment: str = ""


def apply_changes(
    given: NDArray[np.uint8], proposed: NDArray[np.uint8], wanted: Collection[int], refused: Collection[int]
) -> NDArray[np.uint8]:
    """Apply to a label the changes that concern wanted classes and no refused one.

    A voxel that goes from one class to another concerns both; background is disregarded. What is ignored in
    either label stays as it is given.

    Args:
        given: ``[*spatial]`` class indices.
        proposed: the same shape.
        wanted: classes whose changes are accepted.
        refused: classes that must stay as they are.
    """
    concerned = np.isin(given, list(wanted)) | np.isin(proposed, list(wanted))
    spared = np.isin(given, [IGNORE, *refused]) | np.isin(proposed, [IGNORE, *refused])
    return np.where(concerned & ~spared, proposed, given)


def box_text(changed: NDArray[np.bool_]) -> str:
    """The box around some voxels, as in the column ``box``."""
    return " ".join(f"{side.start}-{side.stop - 1}" for side in bounding_box(changed))


def write_corrections(path: Path, corrections: Sequence[Correction]) -> None:
    """Writes the table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Correction)])
        writer.writeheader()
        writer.writerows(asdict(correction) for correction in corrections)


def read_corrections(root: Path) -> list[Correction]:
    """Read the earlier corrections of a data folder; empty if there is no table.

    Raises:
        InputError: the table cannot be read.
    """
    path = root / FILE
    if not is_file(path):
        return []
    columns = [field.name for field in fields(Correction)]
    table = read_table(path, columns)
    needed = [field.name for field in fields(Correction) if field.default is MISSING]  # those of earlier versions
    missing = next((column for column in needed if column not in table.columns), None)
    if missing:
        raise InputError(path, f"cannot be read (it has no column '{missing}')", _REMEDY, code="missing-value")
    return [_correction(row) for row in table.rows]


def _correction(row: Row) -> Correction:
    names = [field.name for field in fields(Correction)]
    values: dict[str, Any] = {name: row.cells[name] for name in names if name in row.cells}
    for column in ("round", "added_voxels", "removed_voxels", "ignored_voxels"):
        if column not in values:
            continue
        number = row.number(column)
        if not (number.is_integer() and number >= 0):
            problem = f"cannot be read ({column} is '{values[column]}', which is not a whole number)"
            raise InputError(row.where, problem, _REMEDY, code="invalid-value")
        values[column] = int(number)
    return Correction(**values)


def rounds_of(corrections: Sequence[Correction], case: str) -> dict[str, int]:
    """In how many rounds each class of a case was changed, by its name."""
    seen = {(correction.label, correction.round) for correction in corrections if correction.case == case}
    return {label: sum(other == label for other, _ in seen) for label, _ in seen}
