"""JSON files and tables of CSV, written atomically; and tables as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from segmend.core.io import atomic_file


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write a JSON file, one value a line.

    Args:
        path: the file.
        content: plain values.

    Raises:
        InputError: the file cannot be written.
        ValueError: a number is NaN or infinite, which JSON cannot hold.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame, float_format: str | None = None) -> None:
    """Write a CSV file without the index of the table; NaN is an empty cell.

    Args:
        path: the file.
        table: what to write.
        float_format: of the numbers, such as ``%.6g``; by default with all digits.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format=float_format)


def write_rows(path: Path, kind: type[Any], rows: Sequence[Any]) -> pd.DataFrame:
    """Write dataclass instances as a CSV file, one a row, numbers with six digits; NaN is an empty cell.

    Args:
        path: the file.
        kind: the dataclass, whose fields are the columns.
        rows: instances of it.

    Returns:
        The table, with all digits.

    Raises:
        InputError: the file cannot be written.
    """
    table = pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(kind)])
    write_table(path, table, "%.6g")
    return table


def aligned(rows: Sequence[Sequence[str]], names: int = 1) -> Iterator[str]:
    """A table as lines of text, its columns two blanks apart.

    Args:
        rows: cells of each row, the heads first; all rows have as many.
        names: number of leading columns that are aligned to the left; the others are numbers.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place < names else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
