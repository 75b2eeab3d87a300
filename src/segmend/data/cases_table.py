"""cases.csv: the split of each case, the quality of its label, and its annotator."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from segmend.core.case import Case, Quality, Split
from segmend.core.errors import InputError, did_you_mean
from segmend.data.finding import RATER, is_truth, remedy_of_name
from segmend.data.names import check_folder_name, check_name, confusable
from segmend.data.tables import Row, read_table

COLUMNS = ("case", "split", "quality", "domain", "annotator")
"""Columns of cases.csv; only the first must be there."""


def read_cases(
    path: Path, found: Mapping[str, Case], raters: Mapping[str, Mapping[str, Path]], problems: list[InputError]
) -> dict[str, Case]:
    """The cases that a table describes, by name.

    Args:
        path: the table.
        found: all cases, as they are without a table.
        raters: label files of each further rater by case.
        problems: where to list what is wrong with single columns and rows, which are left out then.

    Raises:
        InputError: it cannot be read as a table.
    """
    table = read_table(path, COLUMNS, problems)
    for column in table.columns:
        if column not in COLUMNS:
            problems.append(
                InputError(
                    path, f"has an unknown column '{column}'", did_you_mean(column, COLUMNS), code="unknown-name"
                )
            )
    if "case" not in table.columns:
        problems.append(
            InputError(path, "has no column 'case'", f"its columns are {', '.join(COLUMNS)}", code="missing-value")
        )
        return {}
    cases: dict[str, Case] = {}
    for row in table.rows:
        row = _complete(row)
        name = row.cells["case"]
        if not name:
            problems.append(
                InputError(
                    row.where, "names no case", "write the name of a case, or remove the line", code="missing-value"
                )
            )
        elif name in cases:
            problems.append(
                InputError(row.where, f"case '{name}' stands there twice", "keep one line", code="duplicate")
            )
        elif name not in found:
            problems.append(
                InputError(row.where, f"case '{name}' has no image", remedy_of_name(name, found), code="unknown-name")
            )
        else:
            try:
                cases[name] = _describe(found[name], row, raters)
            except InputError as error:
                problems.append(error)
    return cases


def _complete(row: Row) -> Row:
    return replace(row, cells={column: row.cells.get(column, "") for column in COLUMNS})


def _describe(case: Case, row: Row, raters: Mapping[str, Mapping[str, Path]]) -> Case:
    """The case as one row of the table describes it."""
    split = Split(row.choice("split", tuple(Split)) or case.split)
    annotator, domain = row.cells["annotator"], row.cells["domain"]
    if domain:
        check_name(row.where, "domain", domain)
    label, quality = case.label, case.quality
    if annotator:
        _check_annotator(row.where, annotator, raters)
    if annotator in raters:
        label = raters[annotator].get(case.name)
        if label is None:
            problem = f"annotator '{annotator}' drew no label of case '{case.name}'"
            raise InputError(
                row.where, problem, f"add it to {RATER}{annotator}, or name another annotator", code="missing-file"
            )
        quality = Quality.NOISY if quality is Quality.NONE else quality
    given = row.choice("quality", tuple(Quality))
    if given:
        quality = Quality(given)
        if quality is not Quality.NONE and label is None:
            raise InputError(
                row.where,
                f"quality is '{quality}', but there is no label",
                "add the label, or write 'none'",
                code="mismatch",
            )
    return replace(case, label=label, split=split, quality=quality, domain=domain, annotator=annotator)


def _check_annotator(where: str, annotator: str, raters: Mapping[str, object]) -> None:
    """Check that an annotator can only name a folder directly below the data folder, not that of the true labels."""
    check_folder_name(where, "annotator", annotator)
    if is_truth(annotator):
        problem = f"annotator is '{annotator}', but {RATER}{annotator} is for the true labels under synthetic noise"
        raise InputError(where, problem, "give the annotator another name, and the folder too", code="invalid-name")
    other = next((rater for rater in raters if confusable(rater) == confusable(annotator)), annotator)
    if other != annotator:
        problem = f"annotator is '{annotator}', but the folder is called {RATER}{other}"
        raise InputError(where, problem, f"write '{other}'", code="invalid-name")


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write ``cases.csv``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((case.name, case.split, case.quality, case.domain, case.annotator) for case in cases)
