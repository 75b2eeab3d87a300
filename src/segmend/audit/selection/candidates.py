"""Cases that an expert may check or annotate next, and what is expected to be gained by it.

The gain of a label that is checked is what its expected Dice is short of 1, which is what a true label has in
``audit.csv`` however uncertain the model is; that of a case is the sum over its classes. Classes that the model has not
learned are left out. An unlabelled case has a prediction: the gain is what the expected Dice of each class is short of
its mean over all unlabelled cases.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final, cast

import pandas as pd

from segmend.audit.decisions import CaseDecisions
from segmend.audit.expected_dice import LEAST_COMPETENCE
from segmend.audit.folder import AuditFolder
from segmend.audit.regions import ErrorKind
from segmend.audit.selection.sample import Key
from segmend.core.case import Quality
from segmend.core.errors import InputError
from segmend.core.progress import warn
from segmend.data.tables import Row, read_table
from segmend.functional.expected_dice import expected_dice

QUALITY_TABLE = "quality.csv"
"""Of ``segmend predict --uncertainty true``."""

_COLUMNS: Final = ("case", "label", "expected_dice", "volume", "expected_volume", "mean_entropy", "calibration")
_SLACK = 0.05
"""Of the median volume of a class: the smoothing term of an empty mask, as in the audit."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A class of a case.

    Attributes:
        label: its name.
        expected: Dice that is expected of it, 0..1.
        attainable: Dice to compare with, 0..1: 1 of a label, the mean of the class of a prediction.
        kind: kind of error that the audit found; "ok" for none and for predictions.
    """

    label: str
    expected: float
    attainable: float
    kind: str = ErrorKind.OK

    @property
    def gain(self) -> float:
        """What the expected Dice is short of the attainable one, 0..1."""
        return max(0.0, self.attainable - self.expected)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A case that may be chosen.

    Attributes:
        case: its name.
        classes: those that are open.
        labelled: whether there is a label to check; otherwise it is to be annotated.
        annotator: of the label; "" if unknown.
        volumes: of the predicted masks in mm^3 (2D: mm^2) by class; empty for a label.
    """

    case: str
    classes: tuple[Shortfall, ...]
    labelled: bool = True
    annotator: str = ""
    volumes: Mapping[str, float] = field(default_factory=dict)

    @property
    def gain(self) -> float:
        """Expected gain, summed over the classes."""
        return sum(each.gain for each in self.classes)


def decided_labels(table: pd.DataFrame, decisions: Mapping[str, CaseDecisions]) -> set[Key]:
    """Labels on which people were sure; a decision on single regions leaves a label open.

    Args:
        table: ``audit.csv``.
        decisions: by case.
    """
    found = set()
    for case, label in zip(table["case"], table["label"], strict=True):
        of_case = decisions.get(case, CaseDecisions())
        decision = of_case.replacement or of_case.labels.get(label)
        if decision and decision.final:
            found.add((case, label))
    return found


def open_labels(place: AuditFolder, table: pd.DataFrame, decided: Collection[Key]) -> pd.DataFrame:
    """Rows of noisy labels that are not decided yet.

    Args:
        place: the audit.
        table: ``audit.csv``.
        decided: labels that are.

    Raises:
        InputError: the table lacks an expected Dice, or no such label is left.
    """
    if "expected_dice" not in table:
        raise InputError(place.labels, "has no column 'expected_dice'", "audit the folder again", code="missing-value")
    known = table["expected_dice"].notna()
    final = [key in decided for key in zip(table["case"], table["label"], strict=True)]
    rows = table[known & (table["quality"] == Quality.NOISY) & ~pd.Series(final, table.index, dtype=bool)]
    if rows.empty:
        problem = "has no noisy label that is still open: all are expert labels, decided, or without an expected Dice"
        raise InputError(place.labels, problem, "there is nothing to choose from", code="no-data")
    return rows


def learned_classes(place: AuditFolder, rows: pd.DataFrame, summary: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of the classes that the model has learned: of the others it does not know how good labels are.

    Args:
        place: the audit.
        rows: open labels.
        summary: content of ``audit.json``.

    Raises:
        InputError: none is left.
    """
    usual = summary.get("usual", {})
    unknown = {name for name, of_class in usual.items() if of_class.get("best_dice", 1.0) < LEAST_COMPETENCE}
    learned = rows[~rows["label"].isin(unknown)]
    if learned.empty:
        problem = "judges no label that is open, as the model has not learned their classes"
        remedy = "train longer and audit again, or draw a random sample (`purpose estimate`)"
        raise InputError(place.labels, problem, remedy, code="no-data")
    left_out = sorted(set(rows["label"]) & unknown)
    if left_out:
        warn(f"The model has not learned {', '.join(left_out)}: of these classes no gain is expected.")
    return learned


def labelled_candidates(rows: pd.DataFrame) -> list[Candidate]:
    """One candidate for each case.

    Args:
        rows: open labels.
    """
    found = []
    for case, own in rows.groupby("case", sort=True):
        classes = tuple(
            Shortfall(row["label"], row["expected_dice"], 1.0, row.get("kind") or ErrorKind.OK)
            for row in own.to_dict("records")
        )
        annotator = own["annotator"].iloc[0] if "annotator" in own else ""
        found.append(Candidate(cast(str, case), classes, annotator=annotator))
    return found


def unlabelled_candidates(folder: Path, labelled: Collection[str]) -> list[Candidate]:
    """One candidate for each predicted case that has no label.

    Args:
        folder: what ``segmend predict --uncertainty true`` wrote.
        labelled: cases with a label, which are left out.

    Raises:
        InputError: there is no table of expected quality, it cannot be used, or has no case without a label.
    """
    path = folder / QUALITY_TABLE
    table = read_table(path, _COLUMNS, remedy="run 'segmend predict' with `uncertainty true`")
    for column in _COLUMNS[:5]:
        if column not in table.columns:
            raise InputError(path, f"has no column '{column}'", "run 'segmend predict' again", code="missing-value")
    rows = [row for row in table.rows if row.cells["case"] not in labelled]
    if not rows:
        raise InputError(path, "has no case without a label", "predict the unlabelled cases", code="no-data")
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.cells["label"], []).append(row)
    found: dict[str, list[tuple[Shortfall, float]]] = {}
    for label, of_label in by_label.items():
        for row, shortfall in zip(of_label, _shortfalls(label, of_label), strict=True):
            found.setdefault(row.cells["case"], []).append((shortfall, row.number("volume")))
    return [
        Candidate(
            case,
            tuple(shortfall for shortfall, _ in classes),
            labelled=False,
            volumes={shortfall.label: volume for shortfall, volume in classes},
        )
        for case, classes in sorted(found.items())
    ]


def _shortfalls(label: str, rows: Sequence[Row]) -> Iterator[Shortfall]:
    """What each prediction of a class is short of their mean."""
    volumes = [row.number("volume") for row in rows]
    drawn = [volume for volume in volumes if volume > 0]
    slack = _SLACK * median(drawn) if drawn else 1.0
    expected = []
    for row in rows:
        value = row.number("expected_dice")
        if math.isnan(value):  # of an empty mask
            value = expected_dice(0, 0, row.number("expected_volume"), slack)
        if not 0 <= value <= 1:
            problem = f"expected_dice is {row.cells['expected_dice']}, which is not from 0 to 1"
            raise InputError(row.where, problem, "run 'segmend predict' again", code="invalid-value")
        expected.append(value)
    mean = fmean(expected)
    for value in expected:
        yield Shortfall(label, value, mean)
