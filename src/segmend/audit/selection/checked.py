"""What was found when the labels of a sample were checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segmend.audit.by_region import region_view
from segmend.audit.folder import AuditFolder
from segmend.audit.selection.decisions import ACCEPT, COLUMNS, REJECT, Decision, Key, decisions_of
from segmend.audit.selection.features import require_unchanged
from segmend.audit.selection.sample import NOTES, TO_FILL, Sample, SampledLabel, require_known
from segmend.core.case import Quality
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE, Mask
from segmend.core.paths import is_file
from segmend.core.progress import track
from segmend.core.regions import mask_of
from segmend.data.finding import MAIN, label_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_label
from segmend.data.raters import read_drawing
from segmend.data.tables import Row, Table
from segmend.metrics import dice

KNOWN = tuple(dict.fromkeys((*SampledLabel.__dataclass_fields__, *COLUMNS, *NOTES)))
"""Columns of all tables of what was found."""

_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What was found.

    Attributes:
        erroneous: of each label that was checked and belongs to the sample, whether it is erroneous.
        outside: number of checked labels that do not belong to the sample.
    """

    erroneous: Mapping[Key, bool]
    outside: int = 0


def outcomes_of_table(path: Path, table: Table, sample: Sample, below: float) -> Outcomes:
    """What a reader has written into a table: a Dice, or whether the label is erroneous.

    Args:
        path: of the table.
        table: with the columns case, label, and dice or erroneous.
        sample: what was drawn.
        below: Dice below which a label is erroneous.

    Raises:
        InputError: a cell cannot be used, or yes and no were judged by another limit.
    """
    require_known(path, table, KNOWN)
    if not {"case", "label"} <= set(table.columns) or not set(TO_FILL) & set(table.columns):
        problem = "does not say what was found"
        remedy = "give a table with the columns case, label, and dice or erroneous"
        raise InputError(path, problem, remedy, code="missing-value")
    found: dict[Key, bool] = {}
    outside = 0
    for row in table.rows:
        verdict = _verdict(row, below, sample)
        key = row.cells["case"], row.cells["label"]
        if verdict is None:
            continue
        if key not in sample.rows:
            outside += 1
        elif found.setdefault(key, verdict) != verdict:
            problem = f"case '{key[0]}', label '{key[1]}' is judged twice"
            raise InputError(row.where, problem, "keep one line", code="duplicate")
    return Outcomes(found, outside)


def _verdict(row: Row, below: float, sample: Sample) -> bool | None:
    """Whether the label of a row is erroneous; None if it was not checked."""
    word = row.choice("erroneous", (*_YES, *_NO)) if "erroneous" in row.cells else ""
    value = row.number("dice") if "dice" in row.cells else math.nan
    if not (math.isnan(value) or 0 <= value <= 1):
        raise InputError(row.where, f"dice is {value:g}", "write a Dice from 0 to 1", code="invalid-value")
    if word and math.isnan(value):
        if below != sample.below:
            problem = f"was judged by a limit of {sample.below:g}, not {below:g}"
            raise InputError(row.where, problem, "leave out `below`, or write the Dice", code="mismatch")
        return word in _YES
    if word and (value < below) != (word in _YES):
        problem = f"dice is {value:g} and erroneous is {word}, with a limit of {below:g}"
        raise InputError(row.where, problem, "correct one of them", code="mismatch")
    return None if math.isnan(value) else value < below


def outcomes_of_decisions(
    path: Path, given: Table, audited: pd.DataFrame, sample: Sample, below: float, right: RightLabels
) -> Outcomes:
    """What decisions say: a rejected proposal leaves the given label, an accepted one is compared with it.

    Args:
        path: of the table.
        given: the table of decisions.
        audited: ``audit.csv``.
        sample: what was drawn.
        below: Dice below which a label is erroneous.
        right: the labels of the data.

    Raises:
        InputError: the decisions cannot be used, or a label cannot be read.
    """
    decided = decisions_of(given, audited, right.place, path.parent)
    final = {key: decision for key, decision in decided.items() if decision.final}
    inside = {key: decision for key, decision in final.items() if key in sample.rows}
    found = {
        key: decision.word != REJECT and right.dice_to_decided(key, decision) < below
        for key, decision in track(inside.items(), "comparing labels")
    }
    return Outcomes(found, len(final) - len(inside))


def outcomes_of_labels(root: Path, sample: Sample, below: float, right: RightLabels) -> Outcomes:
    """What a folder of right labels says: that of each sampled label is its Dice to the right one.

    Of a data folder only expert labels count, which a person has confirmed.

    Args:
        root: a data folder, or a folder of label files named as the cases.
        sample: what was drawn.
        below: Dice below which a label is erroneous.
        right: the labels of the data.

    Raises:
        InputError: a label cannot be read, or there is none of the sample.
    """
    of_case: Callable[[str], Path | None]
    if is_file(root / "dataset.json"):
        experts = {case.name: case.label for case in DataFolder.open(root).select(None, Quality.EXPERT)}
        of_case, missing = experts.get, f"has no expert label of the sample in {MAIN}"
    else:
        of_case = lambda case: label_of(case, root, right.folder.file_ending)  # noqa: E731
        missing = "has no label of the sample"
    files = {key: file for key in sample.rows if (file := of_case(key[0])) is not None}
    if not files:
        raise InputError(root, missing, "give the labels that the expert has drawn or confirmed", code="no-data")
    return Outcomes({key: right.dice_to(key, file) < below for key, file in track(files.items(), "comparing labels")})


class RightLabels:
    """Dice of the given labels to those that turned out to be right.

    Args:
        folder: the data folder.
        place: its audit.
        settings: of the audit.
    """

    def __init__(self, folder: DataFolder, place: AuditFolder, settings: Mapping[str, Any]) -> None:
        self.folder, self.place, self._settings = folder, place, settings
        self._cases = {case.name: case for case in folder.cases}

    def dice_to(self, key: Key, file: Path) -> float:
        """Dice of a given label to that in a file, over the voxels annotated in both.

        Raises:
            InputError: a file cannot be read, or a label is not the audited one.
        """
        given, mask = self._given(key)
        right = read_drawing(file, self.folder, read_grid(self._label(key)))
        known = (given != IGNORE) & (right != IGNORE)
        return dice(mask & known, mask_of(right, self._classes(key)) & known)

    def dice_to_decided(self, key: Key, decision: Decision) -> float:
        """Dice of a given label to what was decided to be right.

        Raises:
            InputError: a file cannot be read, or a label is not the audited one.
        """
        if decision.file is not None:
            return self.dice_to(key, decision.file)
        given, mask = self._given(key)
        if decision.word != ACCEPT:
            return dice(mask, mask)
        case, label = key
        grid, ending = read_grid(self._label(key)), self.folder.file_ending
        place, view, classes = self.place, self.folder, self._classes(key)
        if label in self.folder.regions:
            place, view, classes = place.of_region(label), region_view(view, label), (1,)
        proposed = mask_of(read_drawing(place.proposal(case, ending), view, grid), classes)
        if decision.kept:
            regions, _ = read_label(place.issues(case, ending))
            proposed = np.where(np.isin(regions, decision.kept), mask, proposed)
        return dice(mask & (given != IGNORE), proposed & (given != IGNORE))

    def _given(self, key: Key) -> tuple[Any, Mask]:
        require_unchanged(key[0], self._cases.get(key[0]), self.folder, self._settings)
        values, _ = read_label(self._label(key))
        given = self.folder.to_indices(values)
        return given, mask_of(given, self._classes(key))

    def _label(self, key: Key) -> Path:
        file = self._cases[key[0]].label
        assert file is not None  # as it is unchanged
        return file

    def _classes(self, key: Key) -> tuple[int, ...]:
        return self.folder.objects[key[1]]
