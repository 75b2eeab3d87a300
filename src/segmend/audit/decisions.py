"""decisions.csv: what people decided about the findings of an audit."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from segmend.audit.folder import AuditFolder
from segmend.core.errors import InputError, did_you_mean
from segmend.core.paths import is_file
from segmend.data.finding import remedy_of_name
from segmend.data.names import canonical
from segmend.data.tables import Row, read_table

COLUMNS = ("case", "label", "decision", "audit", "region", "reader", "comment", "time", "file")
"""Columns of a table of decisions; only ``NEEDED`` must be there."""

NEEDED = COLUMNS[:3]

CHOICES = ("accept", "reject", "unsure", "replace")
"""accept: follow the proposal; reject: the given label is right; replace: take the label of a file."""

_REMEDY = f"give a table with the columns {', '.join(NEEDED)}"


@dataclass(frozen=True, slots=True)
class Decision:
    """A row of the table.

    Attributes:
        choice: one of ``CHOICES``.
        where: file and line, for messages.
        reader: who decided; "" if that is not stated.
        comment: their remark.
        file: the new label of the case, for ``replace``.
    """

    choice: str
    where: str
    reader: str = ""
    comment: str = ""
    file: Path | None = None

    @property
    def changes(self) -> bool:
        """Whether it asks for a change."""
        return self.choice in ("accept", "replace")

    @property
    def final(self) -> bool:
        """Whether the reader was sure."""
        return self.choice != "unsure"


@dataclass(frozen=True, slots=True)
class DecidedRegion:
    """A region of ``regions.csv`` that was decided about by itself.

    Attributes:
        label: class or region of the data that it counts for, as in ``regions.csv``.
        number: value of its voxels in the map of issues.
        suggested: class that it should have.
        decision: about it.
    """

    label: str
    number: int
    suggested: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class CaseDecisions:
    """All decisions about one case.

    Attributes:
        labels: by name of the class or region, about whole labels.
        regions: about single regions.
        replacement: a new label of the whole case, or None; it takes the place of all that was accepted.
    """

    labels: Mapping[str, Decision] = field(default_factory=dict)
    regions: tuple[DecidedRegion, ...] = ()
    replacement: Decision | None = None

    @property
    def all(self) -> tuple[Decision, ...]:
        """Every decision."""
        replacement = (self.replacement,) if self.replacement else ()
        return (*self.labels.values(), *(region.decision for region in self.regions), *replacement)

    def listed(self, label: str) -> bool:
        """Whether something of a label was decided."""
        return label in self.labels or any(region.label == label for region in self.regions)

    def confirms(self, labels: Iterable[str]) -> bool:
        """Whether people were sure of all of some labels, and of every region that they looked at."""
        known = self.replacement is not None or all(label in self.labels for label in labels)
        return known and all(decision.final for decision in self.all)


def read_decisions(path: Path, place: AuditFolder, table: pd.DataFrame) -> dict[str, CaseDecisions]:
    """Read decisions about an audit, by case.

    Args:
        path: the table.
        place: the audit.
        table: its ``audit.csv``.

    Raises:
        InputError: it cannot be read, is of another audit, names what was not audited, contradicts itself, accepts
            what was not proposed, or names a label file that is not there.
    """
    given = read_table(path, COLUMNS, remedy=_REMEDY)
    for column in NEEDED:
        if column not in given.columns:
            raise InputError(path, f"has no column '{column}'", _REMEDY, code="missing-value")
    audited, mark = _Audited(place, table), place.mark
    labels: dict[str, dict[str, Decision]] = {}
    regions: dict[str, dict[tuple[str, int], DecidedRegion]] = {}
    replaced: dict[str, Decision] = {}
    for row in given.rows:
        decision = _decision(row, (path.parent, place.root))
        _check_of_this_audit(row, mark)
        if decision.choice == "replace":
            case = audited.case(row)
            _keep(replaced, case, decision, row, f"case '{case}'")
        elif row.cells.get("region"):
            case, region = audited.region(row, decision)
            key = (region.label, region.number)
            before = regions.setdefault(case, {}).get(key)
            if before and before.decision.choice != decision.choice:
                raise _twice(row, f"region {region.number} of case '{case}'")
            regions[case].setdefault(key, region)
        else:
            case, label = audited.label(row)
            if decision.choice == "accept":
                audited.check_proposed(row, case, label)
            _keep(labels.setdefault(case, {}), label, decision, row, f"case '{case}', label '{label}'")
    return {
        case: CaseDecisions(labels.get(case, {}), tuple(regions.get(case, {}).values()), replaced.get(case))
        for case in (*labels, *regions, *replaced)
    }


class _Audited:
    """Names of what was audited, as a table of decisions may spell them.

    Args:
        place: the audit.
        table: its ``audit.csv``.
    """

    def __init__(self, place: AuditFolder, table: pd.DataFrame) -> None:
        self._place = place
        pairs = list(zip(table["case"], table["label"], strict=True))
        self._pairs = {(canonical(case), canonical(label)): (case, label) for case, label in pairs}
        self._cases: dict[str, str] = {canonical(case): case for case, _ in pairs}
        self._labels = {canonical(label): label for _, label in pairs}
        proposing = table[table["proposal"] != "none"]
        self._proposed = set(zip(proposing["case"], proposing["label"], strict=True))

    def case(self, row: Row) -> str:
        """The case whose label is replaced."""
        case, label = row.cells["case"], row.cells["label"]
        if label or row.cells.get("region"):
            problem = "replaces the label of the whole case, but names one of its classes or regions"
            raise InputError(row.where, problem, "leave label and region empty", code="mismatch")
        if case not in self._cases:
            raise InputError(
                row.where, f"case '{case}' was not audited", remedy_of_name(case, self._cases), code="unknown-name"
            )
        return self._cases[case]

    def label(self, row: Row) -> tuple[str, str]:
        """Case and label."""
        case, label = row.cells["case"], row.cells["label"]
        if (case, label) not in self._pairs:
            known = case in self._cases
            advice = remedy_of_name(label, self._labels) if known else remedy_of_name(case, self._cases)
            raise InputError(row.where, f"case '{case}', label '{label}' was not audited", advice, code="unknown-name")
        return self._pairs[case, label]

    def region(self, row: Row, decision: Decision) -> tuple[str, DecidedRegion]:
        """Case and region; the label may be left empty where the number is unique, and name either class of a swap."""
        case, label, number = row.cells["case"], row.cells["label"], row.number("region")
        of_case = self._regions.get(case, [])
        found = [each for each in of_case if each["region"] == number]
        if label:
            # Numbers are unique within a case, but each region of the data has its own map.
            exact = [each for each in found if canonical(each["label"]) == label]
            found = exact or [each for each in found if label in map(canonical, (each["given"], each["suggested"]))]
        if len(found) > 1:
            problem = f"region {number:g} of case '{case}' is a region of several labels"
            raise InputError(row.where, problem, "name one in the column 'label'", code="missing-value")
        if not found:
            of_label = f", label '{label}'" if label else ""
            problem = f"case '{case}'{of_label} has no region {row.cells['region']}"
            advice = did_you_mean(row.cells["region"], sorted({str(each["region"]) for each in of_case}))
            raise InputError(row.where, problem, advice or f"see {self._place.regions}", code="unknown-name")
        (only,) = found
        return only["case"], DecidedRegion(only["label"], only["region"], only["suggested"], decision)

    @cached_property
    def _regions(self) -> dict[str, list[dict[Hashable, Any]]]:
        """Rows of regions.csv by case."""
        regions: dict[str, list[dict[Hashable, Any]]] = {}
        for row in self._place.read_regions().to_dict("records"):
            regions.setdefault(canonical(row["case"]), []).append(row)
        return regions

    def check_proposed(self, row: Row, case: str, label: str) -> None:
        """Make sure that there is something to accept."""
        if (case, label) not in self._proposed:
            problem = f"accepts a change of case '{case}', label '{label}', but the audit proposes none"
            remedy = "give the table that was made of this audit, or take the line out"
            raise InputError(row.where, problem, remedy, code="mismatch")


def _decision(row: Row, places: Sequence[Path]) -> Decision:
    choice = row.choice("decision", CHOICES)
    if not choice:
        raise InputError(row.where, "decision is ''", f"write {' or '.join(CHOICES)}", code="invalid-value")
    file = _file(row, places) if choice == "replace" else None
    return Decision(choice, row.where, row.cells.get("reader", ""), row.cells.get("comment", ""), file)


def _file(row: Row, places: Sequence[Path]) -> Path:
    """The label file that a row names, from the first of some folders that holds it."""
    name = row.cells.get("file", "")
    if not name:
        raise InputError(
            row.where, "replaces a label, but names no file", "name it in the column 'file'", code="missing-value"
        )
    files = [place / name for place in places]
    found = next((file for file in files if is_file(file)), None)
    if found is None:
        problem = f"names the file {files[0]}, which does not exist"
        raise InputError(row.where, problem, "restore it, or take the line out", code="missing-file")
    return found


def _keep(found: dict[str, Decision], key: str, decision: Decision, row: Row, what: str) -> None:
    before = found.setdefault(key, decision)
    if (before.choice, before.file) != (decision.choice, decision.file):
        raise _twice(row, what)


def _twice(row: Row, what: str) -> InputError:
    return InputError(row.where, f"{what} is decided twice", "keep one line", code="duplicate")


def _check_of_this_audit(row: Row, mark: str) -> None:
    named = (row.cells.get("audit") or mark).strip()
    if named != mark:
        remedy = "give the table that was made of this audit, by its report.html or by 'segmend review'"
        raise InputError(row.where, f"is of the audit {named}, not of {mark}", remedy, code="mismatch")
