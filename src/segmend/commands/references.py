"""What lies next to a folder of references: names, regions and ignored values of its labels, and what is annotated."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segmend.core.errors import InputError
from segmend.core.paths import is_file
from segmend.core.progress import say
from segmend.data.cases_table import COLUMNS, SEPARATOR
from segmend.data.names import canonical
from segmend.data.regions import has_regions, read_regions
from segmend.data.tables import read_table


@dataclass(frozen=True, slots=True)
class References:
    """What dataset.json and cases.csv say of the labels; nothing, where there are none.

    Attributes:
        names: of label values.
        ignore: value of voxels that are not annotated, or None.
        regions: region name to its values.
        annotated: names of the annotated classes or regions, of cases in which some are not.
    """

    names: dict[int, str] = field(default_factory=dict)
    ignore: int | None = None
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    annotated: dict[str, frozenset[str]] = field(default_factory=dict)

    def objects(self, values: set[int]) -> dict[str, tuple[int, ...]]:
        """Regions, and values that are in none by themselves."""
        others = sorted(values - {value for parts in self.regions.values() for value in parts})
        return self.regions | {self.names.get(value, str(value)): (value,) for value in others}

    def annotates(self, case: str, name: str) -> bool:
        """Whether a class or region was annotated in a case."""
        return name in self.annotated.get(canonical(case), (name,))


def read_description_of(references: Path) -> References:
    """What can be read of the names; says what cannot.

    Raises:
        InputError: dataset.json is damaged, which may hide that a value is to be ignored; or so is cases.csv.
    """
    root = references.absolute().parent
    found = _read_names(root / "dataset.json")
    table = root / "cases.csv"
    if not is_file(table):
        return found
    annotated = {}
    for row in read_table(table, COLUMNS).rows:
        listed = row.cells.get("annotated", "").split(SEPARATOR)
        if names := frozenset(canonical(name.strip()) for name in listed if name.strip()):
            annotated[canonical(row.cells.get("case", ""))] = names
    return References(found.names, found.ignore, found.regions, annotated)


def _read_names(path: Path) -> References:
    """Names and the ignored value, as far as they can be read; says what cannot. Nothing else is asked of the file."""
    if not os.path.lexists(path):
        return References()
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # which may hide that a value is to be ignored
        raise InputError(
            path, f"is not valid JSON ({error})", "correct it, or move it elsewhere", code="damaged"
        ) from error
    given = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(given, dict):
        say(f"{path}: holds no names of labels; they are called by their values")
        return References()
    if has_regions(given):
        return _read_regions(path, given)
    values: dict[str, int] = {}
    for name, value in given.items():
        name, value = (value, int(name)) if _is_value(name) and isinstance(value, str) else (name, value)
        if type(value) is int and name and name not in values and value not in values.values():
            values[name] = value
    ignore = values.pop("ignore", None)
    # A name such as 3 for the value 1 could not be distinguished from the value 3.
    names = {value: name for name, value in values.items() if value and (not _is_value(name) or int(name) == value)}
    unread = len(given) - len(names) - (ignore is not None) - (0 in values.values())
    if unread:
        say(
            f"{path}: {unread} of {len(given)} labels have no name and value of their own; "
            "they are called by their values"
        )
    return References(names, ignore)


def _read_regions(path: Path, given: Mapping[str, Any]) -> References:
    try:
        found = read_regions(path, given)
    except InputError as error:
        say(f"{path}: {error.problem}; labels are called by their values")
        return References(ignore=given["ignore"] if type(given.get("ignore")) is int else None)
    parts = {name: set(indices) for name, indices in found.regions.items()}
    values = {
        name: tuple(value for value, index in found.values.items() if index in wanted) for name, wanted in parts.items()
    }
    return References(ignore=found.ignore, regions=values)


def _is_value(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 6
