"""Decisions on the labels of an audit, by label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from segmend.audit.folder import AuditFolder
from segmend.core.errors import InputError
from segmend.data.finding import remedy_of_name
from segmend.data.names import canonical
from segmend.data.tables import Row, Table, read_table

ACCEPT, REJECT, UNSURE, REPLACE = "accept", "reject", "unsure", "replace"
DECISIONS: Final = (ACCEPT, REJECT, UNSURE, REPLACE)
COLUMNS: Final = ("case", "label", "decision", "audit", "region", "reader", "comment", "time", "file")
"""Columns of decisions.csv that are known; the first three are needed."""

_REMEDY = "give a table with the columns case, label, decision"

Key = tuple[str, str]
"""A label: its case, and its class or region."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided on a label.

    Attributes:
        word: "accept": the proposal is right; "reject": the given label is; "unsure"; "replace": a file is.
        file: that file; None otherwise.
        kept: numbers of the regions in which the given label is right nevertheless.
    """

    word: str
    file: Path | None = None
    kept: tuple[int, ...] = ()

    @property
    def final(self) -> bool:
        """Whether it is known now what is right."""
        return self.word != UNSURE


def read_decisions(path: Path, table: pd.DataFrame, place: AuditFolder) -> dict[Key, Decision]:
    """Read a table of decisions; decisions on single regions alone leave a label open.

    Args:
        path: the table.
        table: ``audit.csv``.
        place: the audit.

    Returns:
        The decision on each label that has one.

    Raises:
        InputError: it cannot be read, is of another audit, names what was not audited, or contradicts itself.
    """
    given = read_table(path, COLUMNS, remedy=_REMEDY)
    for column in COLUMNS[:3]:
        if column not in given.columns:
            raise InputError(path, f"has no column '{column}'", _REMEDY, code="missing-value")
    return decisions_of(given, table, place, path.parent)


def decisions_of(given: Table, table: pd.DataFrame, place: AuditFolder, root: Path) -> dict[Key, Decision]:
    """The decisions in a table.

    Args:
        given: with the columns case, label and decision.
        table: ``audit.csv``.
        place: the audit.
        root: folder that files in it are relative to.

    Raises:
        InputError: as in ``read_decisions``.
    """
    labels_of = _labels_by_case(table)
    found: dict[Key, Decision] = {}
    kept: dict[Key, list[int]] = {}
    for row in given.rows:
        _require_audit(row, place)
        word = row.choice("decision", DECISIONS)
        if not word:
            raise InputError(row.where, "decision is ''", f"write {', '.join(DECISIONS)}", code="missing-value")
        keys = list(_labels_of_row(row, word, labels_of))
        if row.cells.get("region"):
            if word == REJECT:
                for key in keys:
                    kept.setdefault(key, []).append(_region(row))
            continue
        decision = Decision(word, _file(row, root) if word == REPLACE else None)
        for key in keys:
            if found.get(key, decision) != decision:
                problem = f"case '{key[0]}', label '{key[1]}' is decided twice"
                raise InputError(row.where, problem, "keep one line", code="duplicate")
            found[key] = decision
    return {key: Decision(each.word, each.file, tuple(kept.get(key, ()))) for key, each in found.items()}


def _labels_by_case(table: pd.DataFrame) -> dict[str, dict[str, Key]]:
    """The audited labels by case and label in canonical form."""
    found: dict[str, dict[str, Key]] = {}
    for case, label in zip(table["case"], table["label"], strict=True):
        found.setdefault(canonical(case), {})[canonical(label)] = (case, label)
    return found


def _labels_of_row(row: Row, word: str, labels_of: Mapping[str, Mapping[str, Key]]) -> Iterable[Key]:
    case, label = row.cells["case"], row.cells["label"]
    if case not in labels_of:
        problem = f"case '{case}' was not audited"
        raise InputError(row.where, problem, remedy_of_name(case, labels_of), code="unknown-name")
    if word == REPLACE and not label:
        return labels_of[case].values()
    if label not in labels_of[case]:
        problem = f"label '{label}' of case '{case}' was not audited"
        raise InputError(row.where, problem, remedy_of_name(label, labels_of[case]), code="unknown-name")
    return [labels_of[case][label]]


def _require_audit(row: Row, place: AuditFolder) -> None:
    named = row.cells.get("audit", "")
    if named and named != place.mark:
        problem = f"is of the audit {named}, not of {place.mark}"
        raise InputError(row.where, problem, "give the table of this audit", code="mismatch")


def _region(row: Row) -> int:
    number = row.number("region")
    if not number.is_integer():
        problem = f"region is '{row.cells['region']}'"
        raise InputError(row.where, problem, "write its number in regions.csv", code="invalid-value")
    return int(number)


def _file(row: Row, root: Path) -> Path:
    name = row.cells.get("file", "")
    if not name:
        raise InputError(row.where, "names no file", "write the label file that replaces it", code="missing-value")
    return root / name
