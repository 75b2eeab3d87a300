"""The table of scores: its summary, and its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import pandas as pd

from segmend.core.errors import InputError
from segmend.core.paths import check_file
from segmend.core.tables import aligned
from segmend.data import tables
from segmend.metrics.evaluation import Score, Status

COLUMNS: Final = tuple(field.name for field in fields(Score))
"""Columns of a result table, in order."""

METRICS: Final = ("dice", "jaccard", "hd95", "asd", "assd", "mssd", "nsd", "ravd")
"""The columns that measure the quality of a prediction."""

DISTANCES: Final = ("hd95", "asd", "assd", "mssd")
"""The metrics that have a unit."""

TEXT: Final = ("case", "label", "status")
"""The columns that are not numbers."""


def to_table(scores: Iterable[Score]) -> pd.DataFrame:
    """The scores as a table, one row each; undefined values are NaN."""
    table = pd.DataFrame([asdict(score) for score in scores], columns=list(COLUMNS))
    return table.astype({column: str if column in TEXT else float for column in COLUMNS})


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """Mean, population standard deviation, median and counts of each metric, per label and over all rows.

    Means are over the rows where a metric is defined; the number of undefined rows is given next to each. ``status``
    counts the rows of each status.
    """
    by_label = {str(label): _statistics(rows) for label, rows in table.groupby("label", sort=False)}
    return {"labels": by_label, "overall": _statistics(table)}


def in_words(table: pd.DataFrame, unit: str) -> Iterator[str]:
    """The means of each label in columns, line by line.

    Args:
        table: of scores.
        unit: of the distances.
    """
    heads = ("label", "Dice", f"HD95 ({unit})", f"ASSD ({unit})", "NSD", "cases", "undefined")
    rows = [heads]
    for label, of_label in summarise(table)["labels"].items():
        means = [_mean(of_label[metric]) for metric in ("dice", "hd95", "assd", "nsd")]
        rows.append((label, *means, str(len(table[table["label"] == label])), str(of_label["hd95"]["undefined"])))
    yield from aligned(rows)


def read_table(path: Path) -> pd.DataFrame:
    """Read a result table.

    Raises:
        InputError: there is no such file, or it is not a table that ``segmend evaluate`` wrote.
    """
    remedy = "give the CSV file that 'segmend evaluate' wrote"
    # A case or class may be called 'NA' or '007': only empty cells of the numbers mean 'undefined'.
    check_file(path, remedy)
    given = tables.read_table(path, COLUMNS)
    if not given.columns:
        raise InputError(path, "cannot be read as a result table, as it is empty", remedy, code="damaged")
    missing = [column for column in COLUMNS if column not in given.columns]
    if missing:
        raise InputError(
            path, f"is not a result table, the column '{missing[0]}' is missing", remedy, code="missing-value"
        )
    rows = [{column: _value(row, column) for column in COLUMNS} for row in given.rows]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.astype({column: str if column in TEXT else float for column in COLUMNS})
    twice = table.loc[table.duplicated(["case", "label"]), ["case", "label"]].to_numpy().tolist()
    if twice:
        raise InputError(path, f"holds case '{twice[0][0]}', label '{twice[0][1]}' twice", remedy, code="duplicate")
    return table[list(COLUMNS)]


def _mean(statistics: Mapping[str, float | None]) -> str:
    mean, spread = statistics["mean"], statistics["std"]
    return "-" if mean is None or spread is None else f"{mean:.3f} ± {spread:.3f}"


def _value(row: tables.Row, column: str) -> str | float:
    try:
        return row.cells[column] if column in TEXT else row.number(column)
    except InputError as error:
        raise InputError(
            row.where,
            f"cannot be read as a result table ({error.problem})",
            f"{error.remedy}, or run 'segmend evaluate' again",
            code="invalid-value",
        ) from error


def _statistics(rows: pd.DataFrame) -> dict[str, Any]:
    summary: dict[str, Any] = {metric: _describe(rows[metric]) for metric in METRICS}
    summary["status"] = {status.value: int((rows["status"] == status.value).sum()) for status in Status}
    return summary


def _describe(values: pd.Series[float]) -> dict[str, float | int | None]:
    defined = values.dropna()
    known = len(defined) > 0
    return {
        "mean": float(defined.mean()) if known else None,
        "std": float(defined.std(ddof=0)) if known else None,
        "median": float(defined.median()) if known else None,
        "n": len(defined),
        "undefined": len(values) - len(defined),
    }
