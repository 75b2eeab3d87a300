"""The tables of an audit as text, as they are shown."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from segmend.core.errors import InputError

Row = Mapping[str, str]
"""A row of a table, by column."""


def read_rows(path: Path) -> list[Row]:
    """Reads a table of an audit. All is text: a case may be called 'NA' or '007'.

    Raises:
        InputError: it is not there or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problem = "cannot be read" if path.exists() else "does not exist"
        raise InputError(
            path, problem, "give the folder that 'segmend audit' writes, and let that finish", code="unfinished"
        ) from error


def findings_by_case(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Rows of ``checks.csv`` in words, by case."""
    found: dict[str, list[str]] = {}
    for row in rows:
        subject = " of ".join(part for part in (row["check"].replace("_", " "), row["label"]) if part)
        found.setdefault(row["case"], []).append(f"{subject}: {row['detail']}")
    return found
