"""What was found when the labels of a sample were checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmend.audit.decisions import COLUMNS
from segmend.audit.selection.features import require_unchanged
from segmend.audit.selection.sample import NOTES, TO_FILL, Key, Sample, SampledLabel, require_known
from segmend.core.case import Case, Quality
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.core.paths import is_file
from segmend.core.progress import track
from segmend.core.regions import mask_of
from segmend.data.finding import MAIN, label_of
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_label
from segmend.data.raters import read_drawing
from segmend.data.tables import Row, Table
from segmend.metrics import dice

KNOWN = tuple(dict.fromkeys((*SampledLabel.__dataclass_fields__, *COLUMNS, *NOTES)))
"""Columns of all tables of what was found."""

RightLabel = Callable[[Case, NDArray[np.uint8], Grid], NDArray[np.uint8] | None]
"""The right label of a case, given the case, its label ``[*spatial]`` and the grid; None if it is not known."""

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


def outcomes_of_labels(
    labels: Collection[Key],
    right: RightLabel,
    folder: DataFolder,
    settings: Mapping[str, Any],
    below: float,
) -> Outcomes:
    """What right labels say: a given one is erroneous if its Dice to the right one is below a limit.

    Voxels that are not annotated in one of the two do not count.

    Args:
        labels: of the sample.
        right: gives the right label of a case.
        folder: the data folder.
        settings: of the audit.
        below: the limit.

    Raises:
        InputError: a label cannot be read, or is not the audited one.
    """
    cases = {case.name: case for case in folder.cases}
    found: dict[Key, bool] = {}
    for name in track(sorted({case for case, _ in labels}), "comparing labels"):
        require_unchanged(name, cases.get(name), folder, settings)
        case = cases[name]
        assert case.label is not None  # as it is unchanged
        values, grid = read_label(case.label)
        given = folder.to_indices(values)
        true = right(case, given, grid)
        if true is None:
            continue
        known = (given != IGNORE) & (true != IGNORE)
        for label in (each for other, each in labels if other == name):
            masks = (mask_of(array, folder.objects[label]) & known for array in (given, true))
            found[name, label] = dice(*masks) < below
    return Outcomes(found)


def labels_in(root: Path, sample: Sample, folder: DataFolder) -> RightLabel:
    """The right labels in a folder; of a data folder only expert labels, which a person has confirmed.

    Args:
        root: a data folder, or a folder of label files named as the cases.
        sample: what was drawn.
        folder: the data folder that was audited.

    Raises:
        InputError: there is none of the sample.
    """
    names = {case for case, _ in sample.rows}
    if is_file(root / "dataset.json"):
        experts = DataFolder.open(root).select(None, Quality.EXPERT)
        files = {case.name: case.label for case in experts if case.name in names}
        missing = f"has no expert label of the sample in {MAIN}"
    else:
        files = {name: label_of(name, root, folder.file_ending) for name in names}
        missing = "has no label of the sample"
    if not any(files.values()):
        raise InputError(root, missing, "give the labels that the expert has drawn or confirmed", code="no-data")

    def right(case: Case, given: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8] | None:
        file = files.get(case.name)
        return read_drawing(file, folder, grid) if file else None

    return right
