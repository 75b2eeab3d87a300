"""The tables of an audit: what was found, and remarks about all labels together and the audit's own reliability."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import pandas as pd

from segmend.audit.annotators import CLEAR_ERRORS, AnnotatorRow
from segmend.audit.auditor import Audit
from segmend.audit.checks import Finding
from segmend.audit.expected_dice import CohortStatistics
from segmend.audit.folder import AuditFolder
from segmend.audit.rows import SUSPECT, LabelRow, RegionRow
from segmend.core.tables import write_json, write_rows
from segmend.data.folder import DataFolder
from segmend.data.image import PICTURES

_LOW_CONFIDENCE_DICE = 0.6
"""Median expected Dice of a model's own outlines below which it cannot judge other labels."""
_IN_TRAINING_SET = (
    "The labels of 'cases_seen_by_their_model' were trained on by the model that judges them, "
    "so they look better than they are."
)


def write_audit(
    place: AuditFolder, folder: DataFolder, found: Audit, findings: Sequence[Finding], assumed: Sequence[str] = ()
) -> pd.DataFrame:
    """Write all tables, ``audit.json`` last.

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
    write_rows(place.annotators, AnnotatorRow, found.annotators)
    write_rows(place.checks, Finding, findings)
    in_training_set = sorted({row.case for row in found.labels if row.in_training_set})
    summary: dict[str, Any] = {
        "data": str(folder.root.resolve()),
        "evidence": place.read_settings()["evidence"],
        "cases": len({row.case for row in found.labels}),
        "cases_seen_by_their_model": in_training_set,
        "temperature": found.temperature,
        "thresholds": {name: value if math.isfinite(value) else None for name, value in found.thresholds.items()},
        "usual": {name: asdict(of_class) for name, of_class in found.references.items()},
        "remarks": [*assumed, *make_remarks(found.labels, found.references, unit_of(folder))],
        "suspect": sum(row.score < SUSPECT for row in found.labels),
        "regions": len(found.regions),
        "findings": len(findings),
    }
    write_json(place.summary, summary | ({"warning": _IN_TRAINING_SET} if in_training_set else {}))
    return table


def make_remarks(rows: Sequence[LabelRow], references: Mapping[str, CohortStatistics], unit: str) -> list[str]:
    """Write one remark for each class with low model confidence, and one if most labels have a boundary offset.

    Args:
        rows: all labels.
        references: reference statistics of each class.
        unit: unit of distances, 'mm' or 'pixels'.
    """
    return [*_on_low_confidence(rows, references), *_on_offsets(rows, unit)]


def unit_of(folder: DataFolder) -> str:
    """Unit of distances: pictures of microscopes have no millimetres."""
    return "pixels" if folder.file_ending in PICTURES else "mm"


def _on_low_confidence(rows: Sequence[LabelRow], references: Mapping[str, CohortStatistics]) -> Iterator[str]:
    with_offsets = {row.label for row in rows if not math.isnan(row.correction_se_mm)}
    for label, reference in references.items():
        if reference.best_dice < _LOW_CONFIDENCE_DICE:
            of_offsets = " Boundary offsets need less, and are reported." if label in with_offsets else ""
            yield (
                f"Low model confidence for '{label}': the median expected Dice of its own outlines is "
                f"{reference.best_dice:.2f}. Train for more steps before you rely on this audit for "
                f"this class.{of_offsets}"
            )


def _on_offsets(rows: Sequence[LabelRow], unit: str) -> Iterator[str]:
    """Where all labels have the same error, none is flagged."""
    noisy = [row for row in rows if not math.isnan(row.correction_mm)]
    off = [abs(row.correction_mm) for row in noisy if abs(row.correction_mm) > CLEAR_ERRORS * row.correction_se_mm]
    if len(off) > len(noisy) / 2:
        yield (
            f"{len(off)} of {len(noisy)} noisy labels seem to be over- or under-segmented, with a median offset of "
            f"{median(off):.1f} {unit}. Where nearly all labels are, none is flagged; "
            "'segmend correct --correct_offsets true' shifts the boundary of each by its own offset."
        )
