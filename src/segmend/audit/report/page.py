"""The page of an audit: one HTML file to review suspect labels and decide on each.

A page of thousands of labels stays fast: all are rows of a table that shows a few at a time; only the most suspect
have pictures, of at most ``close_up.BUDGET`` bytes each, which are decoded when they are shown.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from segmend.audit.by_region import region_view
from segmend.audit.folder import AuditFolder
from segmend.audit.report.close_up import CloseUp, close_up
from segmend.audit.report.content import page_content
from segmend.audit.report.reading import Row, read_rows
from segmend.audit.report.scenes import audited_scans, worst_region
from segmend.core.errors import InputError, did_you_mean
from segmend.core.io import atomic_file
from segmend.core.progress import track
from segmend.core.rendering import template
from segmend.data.folder import DataFolder

MOST_PICTURES = 100
"""Labels that have pictures, the most suspect first: a page of at most 10 MB."""

Regions = Mapping[tuple[str, str], Sequence[Row]]
"""Regions by case and label, the most important first."""

_SCRIPTS = ("pixels.js", "outlines.js", "elements.js", "viewer.js", "page.js")
_STYLES = ("colours.css", "controls.css", "page.css")
_MOST_REGIONS = 8


def write_audit_report(audit: Path, folder: DataFolder, *, pictures: int = MOST_PICTURES, channel: int = 0) -> Path:
    """Writes ``report.html`` into the folder of an audit, from the other files there and the scans.

    The page needs nothing else and fetches nothing. Names are escaped wherever they appear.

    Args:
        audit: the folder that 'segmend audit' wrote.
        folder: the data folder that was audited.
        pictures: how many labels are shown in pictures, the most suspect first.
        channel: of the scans, to show.

    Returns:
        The page.

    Raises:
        InputError: the audit is not complete, or not of this data folder.
    """
    try:
        text = _page(AuditFolder(audit), folder, pictures, channel)
    except InputError:
        raise
    except (KeyError, ValueError, TypeError, IndexError) as error:  # cells that are no numbers, columns that lack
        problem = f"holds a table that is damaged ({error!r})"
        raise InputError(audit, problem, "run the same 'segmend audit' again", code="damaged") from error
    report = audit / "report.html"
    with atomic_file(report) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return report


def _page(place: AuditFolder, folder: DataFolder, pictures: int, channel: int) -> str:
    rows = sorted(read_rows(place.labels), key=lambda row: int(row["rank"]))
    regions = _regions_by_label(read_rows(place.regions))
    unknown = sorted({row["label"] for row in rows} - folder.objects.keys())
    if unknown:
        raise InputError(
            place.root, f"judges a label '{unknown[0]}'", did_you_mean(unknown[0], folder.objects), code="mismatch"
        )
    script, style = ("\n".join(map(_part, parts)) for parts in (_SCRIPTS, _STYLES))
    return template("segmend.audit.report", "page.html").render(
        page=page_content(place, folder, rows),
        pictured=min(pictures, len(rows)),
        close_ups=_close_ups(place, folder, rows[:pictures], regions, channel),
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def _regions_by_label(regions: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Regions by case and label; of two classes that were mixed up, both have it."""
    found: dict[tuple[str, str], list[Row]] = {}
    for region in regions:
        for label in {region["given"], region["suggested"]}:
            found.setdefault((region["case"], label), []).append(region)
    return found


def _close_ups(
    place: AuditFolder, folder: DataFolder, rows: Sequence[Row], regions: Regions, channel: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """For each row, its number and what the viewer shows. Each case is read once, or once for each region."""
    by_case: dict[str, dict[str, list[int]]] = {}
    for number, row in enumerate(rows):
        view = row["label"] if folder.regions else ""
        by_case.setdefault(view, {}).setdefault(row["case"], []).append(number)
    for view, numbers in by_case.items():
        seen, judged = (region_view(folder, view), place.of_region(view)) if view else (folder, place)
        names = list(seen.labels)
        scans = audited_scans(judged, seen, list(numbers), channel)
        for case, scan in track(scans, "drawing suspects", len(numbers)):
            for number in numbers[case]:
                row = rows[number]
                of_row = regions.get((case, row["label"]), [])
                shown = close_up(scan.scene(names.index(row["label"]), worst_region(row, of_row)))
                listed = [_region(region, shown) for region in of_row[:_MOST_REGIONS]]
                yield number, asdict(shown) | {"regions": listed}


def _region(region: Row, shown: CloseUp) -> dict[str, Any]:
    centre = [float(region[f"centre_{axis}_mm"]) for axis in "xyz"]
    size = f"{region['voxels']} voxels, {float(region['thickness_mm']):.1f} mm thick"
    return {
        "kind": region["kind"],
        "text": f"{size}, {100 * float(region['score']):.0f} % sure",
        "at": [round(position) for position in shown.voxel_at(centre)],
    }


def _part(name: str) -> str:
    return files("segmend.audit.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Hash by which a content security policy identifies a script or style."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
