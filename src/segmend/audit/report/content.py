"""Content of the page of an audit, from its tables."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from segmend.audit.folder import AuditFolder
from segmend.audit.reliability import BELOW
from segmend.audit.report.reading import Row, findings_by_case, read_rows
from segmend.audit.rounds import changes_in_words
from segmend.audit.rows import shifts_boundary
from segmend.audit.tables import headline, unit_of
from segmend.data.folder import DataFolder

_BINS = 20
_MOST_POINTS = 500
_ANNOTATORS = {
    "annotator": "annotator",
    "label": "label",
    "cases": "cases",
    "volume_ratio": "volume drawn / expected",
    "offset_mm": "boundary offset, outward (mm)",
    "offset_se_mm": "± (mm)",
    "all_round": "share all round",
    "dice_to_prediction": "Dice to prediction",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "verdict": "in words",
}
"""Columns of ``annotators.csv`` that are shown, and what they are called."""


def page_content(place: AuditFolder, folder: DataFolder, rows: Sequence[Row]) -> dict[str, Any]:
    """Return all content of the page except the pictures.

    Args:
        place: the audit.
        folder: the data folder that was audited.
        rows: of ``audit.csv``, the most suspect first.
    """
    summary = place.read_summary()
    kinds = Counter(row["kind"] for row in rows)
    return {
        "dataset": folder.name,
        "lead": headline(summary, len(rows)),
        "since": changes_in_words(summary["since"]) if "since" in summary else "",
        "remarks": summary["remarks"],
        "command": _next_command(place, folder),
        "threshold": BELOW,
        "bars": _bars([float(row["expected_dice"]) for row in rows]),
        "reliability": _reliability(summary["reliability"]),
        "kinds": kinds.most_common(),
        "annotators": _annotators(read_rows(place.annotators)),
        "footer": "Written by 'segmend audit'. Scores and proposals are a model's hints; people decide.",
        "content": {
            "key": place.mark,
            "rows": [_row(row) for row in rows],
            "findings": findings_by_case(read_rows(place.checks)),
            "unit": unit_of(folder),
        },
    }


def _row(row: Row) -> dict[str, Any]:
    """The columns that the script needs, by their names in ``audit.csv``; what is unknown is null."""
    cells = {column: _READ[column](row[column]) for column in _READ}
    correction, error = cells["correction_mm"], cells["correction_se_mm"]
    if correction is None or error is None or not shifts_boundary(correction, error):
        cells["correction_mm"] = None
    return cells


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


_READ: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("case", "label", "kind", "proposal", "quality", "annotator"), str),
    **dict.fromkeys(("rank", "flagged_voxels", "changed_voxels"), int),
    **dict.fromkeys(("score", "expected_dice", "best_dice", "dice_to_prediction"), float),
    **dict.fromkeys(
        ("offset_mm", "correction_mm", "correction_se_mm", "expected_dice_proposal", "proposal_score", "judges_dice"),
        _number,
    ),
    **dict.fromkeys(("suspect", "in_training_set"), "True".__eq__),
}
"""Columns of ``audit.csv`` that the script needs, and how their cells are read."""


def _next_command(place: AuditFolder, folder: DataFolder) -> str:
    """What to call with the decisions, to copy."""
    paths = {"data": folder.root, "audit": place.root}
    given = " ".join(f"--{name} {shlex.quote(str(path.resolve()))}" for name, path in paths.items())
    return f"segmend correct {given} --out CORRECTED --decisions decisions.csv"


def _reliability(of_classes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Expected and found Dice of the model's own outlines, in the coordinates of the template's picture."""
    points = [
        {
            "x": round(10 + 130 * expected, 1),
            "y": round(140 - 130 * found, 1),
            "title": f"{name}: {expected:.2f}, {found:.2f}",
        }
        for name, each in of_classes.items()
        for expected, found in zip(each["expected"], each["found"], strict=True)
    ]
    if not points:
        return None
    errors = [
        abs(expected - found)
        for each in of_classes.values()
        for expected, found in zip(each["expected"], each["found"], strict=True)
    ]
    against = " and ".join(sorted({each["against"] for each in of_classes.values()}))
    some = points if len(points) <= _MOST_POINTS else points[:: -(-len(points) // _MOST_POINTS)]
    return {"points": some, "count": len(points), "error": float(np.mean(errors)), "against": against}


def _bars(expected_dice: Sequence[float]) -> list[dict[str, Any]]:
    """The histogram, in the coordinates of the template's picture."""
    counts, edges = np.histogram(expected_dice, _BINS, (0, 1))
    heights = 105 * counts / max(counts.max(), 1)
    return [
        {
            "x": 10 + 400 * low + 1,
            "width": 400 / _BINS - 2,
            "y": round(125 - height, 1),
            "height": round(height, 1),
            "suspect": low < BELOW - 1e-9,
            "count": int(count),
            "title": f"{count} from {low:.2f} to {high:.2f}",
        }
        for count, height, low, high in zip(counts, heights, edges[:-1], edges[1:], strict=True)
    ]


def _annotators(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]] | None:
    """Headings of the columns that say something, and the cells of each row."""
    columns = [column for column in _ANNOTATORS if any(row[column] for row in rows)]
    if not columns:
        return None
    return [_ANNOTATORS[column] for column in columns], [[_short(row[column]) for column in columns] for row in rows]


def _short(cell: str) -> str:
    """A cell; of a long number the first digits."""
    return f"{float(cell):.3g}" if re.fullmatch(r"-?\d+\.\d+(e[-+]\d+)?", cell) else cell
