"""The published numbers of the five papers that Segmend implements."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

TABLE = Path(__file__).parent / "paper_tables.csv"


@cache
def published_numbers() -> pd.DataFrame:
    """All of them: texts ``paper, table, setting, method, metric``, and ``value`` and ``std``, NaN if not printed."""
    table = pd.read_csv(TABLE, dtype=str, keep_default_na=False)
    numbers = {column: pd.to_numeric(table[column], errors="coerce") for column in ("value", "std")}
    return table.assign(**numbers)


def published_value(paper: str, table: str, settings: tuple[str, ...], method: str, metric: str) -> tuple[float, float]:
    """One number and its spread over cases.

    Args:
        paper: name as in the list.
        table: name as in the list.
        settings: the first that has this method and metric is taken.
        method: name of the row.
        metric: name of the column, unit and arrow included.

    Returns:
        Value and standard deviation, NaN where nothing was published.
    """
    rows = published_numbers()
    rows = rows[(rows["paper"] == paper) & (rows["table"] == table)]
    for setting in settings:
        found = rows[(rows["setting"] == setting) & (rows["method"] == method) & (rows["metric"] == metric)]
        if len(found):
            return float(found["value"].iloc[0]), float(found["std"].iloc[0])
    return float("nan"), float("nan")
