"""Tables of the findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from segmend.audit.annotators import Bias
from segmend.audit.auditor import Audit
from segmend.audit.checks import Finding
from segmend.audit.folder import AuditFolder
from segmend.audit.region_rows import RegionRow
from segmend.audit.remarks import remarks
from segmend.audit.rows import SUSPECT, LabelRow
from segmend.core.tables import write_json, write_rows
from segmend.data.folder import DataFolder
from segmend.data.image import PICTURES

_SEEN = (
    "The labels of 'cases_seen_by_their_model' were trained on by the model that judges them, "
    "so they look better than they are."
)


def write_audit(
    place: AuditFolder, folder: DataFolder, found: Audit, findings: Sequence[Finding], assumed: Sequence[str] = ()
) -> pd.DataFrame:
    """Writes all tables, ``audit.json`` last.

    Args:
        place: where.
        folder: that was audited.
        found: what was found.
        findings: hints of the checks that need no comparison.
        assumed: what is to be said of the evidence, the first of the remarks.

    Returns:
        The table of ``audit.csv``.
    """
    table = write_rows(place.labels, LabelRow, found.labels)
    write_rows(place.regions, RegionRow, found.regions)
    write_rows(place.annotators, Bias, found.biases)
    write_rows(place.checks, Finding, findings)
    names = list(folder.labels)
    seen = sorted({row.case for row in found.labels if row.in_training_set})
    usual = {names[index]: of_class for index, of_class in found.usual.items()}
    thresholds = zip(names, found.calibration.thresholds.tolist(), strict=True)
    summary: dict[str, Any] = {
        "data": str(folder.root.resolve()),
        "evidence": place.read_settings()["evidence"],
        "cases": len({row.case for row in found.labels}),
        "cases_seen_by_their_model": seen,
        "temperature": found.calibration.temperature,
        "thresholds": {name: value if math.isfinite(value) else None for name, value in thresholds},
        "usual": {name: asdict(of_class) for name, of_class in usual.items()},
        "remarks": [*assumed, *remarks(found.labels, usual, unit_of(folder))],
        "suspect": sum(row.score < SUSPECT for row in found.labels),
        "regions": len(found.regions),
        "findings": len(findings),
    }
    write_json(place.summary, summary | ({"warning": _SEEN} if seen else {}))
    return table


def unit_of(folder: DataFolder) -> str:
    """What distances are in: pictures of microscopes have no millimetres."""
    return "pixels" if folder.file_ending in PICTURES else "mm"
