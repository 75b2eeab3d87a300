"""Content of the page of an audit, from its tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from segmend.audit.folder import AuditFolder
from segmend.audit.report.reading import Row, findings_by_case, read_rows
from segmend.audit.rows import SUSPECT, shifts_boundary
from segmend.audit.tables import unit_of
from segmend.data.folder import DataFolder

_BINS = 20
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
    scores = [float(row["score"]) for row in rows]
    suspects = sum(score < SUSPECT for score in scores)
    cases = len({row["case"] for row in rows})
    kinds = Counter(row["kind"] for row in rows)
    return {
        "dataset": folder.name,
        "lead": f"{suspects} of {len(rows)} labels of {cases} cases look suspect.",
        "remarks": place.read_summary()["remarks"],
        "rows": len(rows),
        "suspects": suspects,
        "threshold": SUSPECT,
        "bars": _bars(scores),
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
    **dict.fromkeys(("score", "dice_to_prediction"), float),
    **dict.fromkeys(("offset_mm", "correction_mm", "correction_se_mm", "proposal_score"), _number),
    "in_training_set": "True".__eq__,
}
"""Columns of ``audit.csv`` that the script needs, and how their cells are read."""


def _bars(scores: Sequence[float]) -> list[dict[str, Any]]:
    """The histogram, in the coordinates of the template's picture."""
    counts, edges = np.histogram(scores, _BINS, (0, 1))
    heights = 105 * counts / max(counts.max(), 1)
    return [
        {
            "x": 10 + 400 * low + 1,
            "width": 400 / _BINS - 2,
            "y": round(125 - height, 1),
            "height": round(height, 1),
            "suspect": low < SUSPECT,
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
