"""cases.csv: the split of each case, the quality of its label, its annotator, and what was annotated."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from segmend.core.case import Case, Quality, Split
from segmend.core.errors import InputError, did_you_mean
from segmend.data.finding import RATER, is_truth, remedy_of_name
from segmend.data.names import canonical, check_folder_name, check_name, confusable
from segmend.data.tables import Row, read_table

COLUMNS = ("case", "split", "quality", "domain", "annotator", "annotated")
"""Columns of cases.csv; only the first must be there."""

SEPARATOR = ";"
"""Between the names in the column ``annotated``."""


def read_cases(
    path: Path,
    found: Mapping[str, Case],
    raters: Mapping[str, Mapping[str, Path]],
    objects: Collection[str],
    problems: list[InputError],
) -> dict[str, Case]:
    """The cases that a table describes, by name.

    Args:
        path: the table.
        found: all cases, as they are without a table.
        raters: label files of each further rater by case.
        objects: names of the classes or regions, without the background.
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
                cases[name] = _describe(found[name], row, raters, objects)
            except InputError as error:
                problems.append(error)
    return cases


def _complete(row: Row) -> Row:
    return replace(row, cells={column: row.cells.get(column, "") for column in COLUMNS})


def _describe(case: Case, row: Row, raters: Mapping[str, Mapping[str, Path]], objects: Collection[str]) -> Case:
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
    annotated = _annotated(row, objects)
    return replace(
        case, label=label, split=split, quality=quality, domain=domain, annotator=annotator, annotated=annotated
    )


def _annotated(row: Row, objects: Collection[str]) -> tuple[str, ...] | None:
    """What is annotated in a case, in the order of the classes; None for all."""
    names = [canonical(name.strip()) for name in row.cells["annotated"].split(SEPARATOR) if name.strip()]
    for name in names:
        if name not in objects:
            problem = f"'{name}' is said to be annotated, but there is no such class"
            raise InputError(row.where, problem, did_you_mean(name, objects), code="unknown-name")
    return tuple(name for name in objects if name in names) if 0 < len(set(names)) < len(objects) else None


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
    """Write ``cases.csv``; the column ``annotated`` only where some cases are annotated in part."""
    rows = [
        (case.name, case.split, case.quality, case.domain, case.annotator, SEPARATOR.join(case.annotated or ()))
        for case in cases
    ]
    columns = len(COLUMNS) if any(row[-1] for row in rows) else len(COLUMNS) - 1
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS[:columns])
        writer.writerows(row[:columns] for row in rows)
