"""dicom.json: which image series each case of a data folder is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segmend.core.errors import InputError
from segmend.core.paths import read_json
from segmend.core.tables import write_json

FILE = "dicom.json"


@dataclass(frozen=True)
class Link:
    """Where a case comes from.

    Attributes:
        series: SeriesInstanceUID.
        folder: of its files, relative to the folder that was imported; "" if it is not kept.
    """

    series: str
    folder: str = ""


def write_links(root: Path, links: Mapping[str, Link]) -> None:
    """Write the file of a data folder, by case."""
    cases = {
        name: {"series": link.series} | ({"folder": link.folder} if link.folder else {}) for name, link in links.items()
    }
    write_json(root / FILE, {"cases": cases})


def read_links(root: Path) -> dict[str, Link]:
    """Read the file of a data folder, by case.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    path = root / FILE
    content = read_json(path, "give a data folder that 'segmend import' has made of DICOM series").get("cases")
    if not isinstance(content, dict) or not all(
        isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values()) and "series" in entry
        for entry in content.values()
    ):
        raise InputError(path, "does not list cases with their series", "import the DICOM series again", code="damaged")
    return {name: Link(entry["series"], entry.get("folder", "")) for name, entry in content.items()}
