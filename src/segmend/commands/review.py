"""segmend review."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from segmend.audit.folder import AuditFolder
from segmend.core import signals as stopping
from segmend.core.errors import InputError
from segmend.core.folders import refuse_if_written
from segmend.core.paths import is_folder
from segmend.data.folder import DataFolder
from segmend.review import require_review

_HIGHEST_PORT = 65535


def review(
    *,
    audit: Path,
    data: Path | None = None,
    reader: str = "",
    blinded: bool = False,
    port: int = 0,
    open: bool = True,
    cases: Path | None = None,
) -> pd.DataFrame:
    """Review the findings of an audit in the browser: all labels, slice by slice, with what is proposed.

    Starts a web application on this machine, which no other machine can reach, and prints its address. Any number of
    readers accept or reject proposals, by label or by region, comment, and open cases in ITK-SNAP or 3D Slicer. Each
    decision is on the disk at once, in review.sqlite in the audit's folder. Ctrl+C ends the review, writes
    decisions.csv there and prints the next command. The same command continues later; the data are not changed.

    Args:
        audit: the folder that 'segmend audit' wrote.
        data: the data folder that was audited; by default where it was then.
        reader: your name, which the page suggests; in a blinded review, only this reader can decide.
        blinded: hide what others have decided, for a second reading.
        port: of the address; 0 takes any that is free.
        open: open the page in the browser.
        cases: a table to use instead of cases.csv, as in the audit.

    Returns:
        The decisions of all readers together, as in decisions.csv.

    Raises:
        InputError: the audit is not finished or of another folder, the decisions are about another audit, or a library
            is missing.

    Example:
        segmend review --audit AUDIT --reader Anna
    """
    require_review()
    if not 0 <= port <= _HIGHEST_PORT:
        raise InputError("port", f"is {port}", f"give 0 to {_HIGHEST_PORT}", code="invalid-value")
    from segmend.review.decisions import check_reader
    from segmend.review.export import decisions_table, tell
    from segmend.review.review import Review
    from segmend.review.server import serve

    if not is_folder(audit):
        raise InputError(audit, "is no folder", "give the folder that 'segmend audit' wrote", code="missing-file")
    refuse_if_written(audit)
    place = AuditFolder(audit.resolve())  # the page shows paths and commands that are pasted elsewhere
    name = check_reader(reader) if reader else ""
    shown = Review(place, DataFolder.open(data.resolve() if data else _audited(place), cases), name, blinded)
    stopping.promise("continue the review")
    serve(shown, port, open_page=open)
    written = shown.write_tables()
    tell(written, shown.next_line)
    return decisions_table(written.decisions, shown.findings)


def _audited(place: AuditFolder) -> Path:
    """The data folder of an audit.

    Raises:
        InputError: it is not where it was.
    """
    known = place.read_settings().get("data")
    if not isinstance(known, str):
        raise InputError(
            "data", "is not known from the audit", "give the folder that was audited", code="missing-value"
        )
    if not is_folder(Path(known)):
        problem = f"was {known} when it was audited, and is not there"
        raise InputError("data", problem, "give the folder as `data`, or put it back", code="missing-file")
    return Path(known)
