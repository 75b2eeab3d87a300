"""The tables of an audit: what was found, and remarks about all labels together and the audit's own reliability."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import pandas as pd

from segmend.audit.advice import advice
from segmend.audit.annotators import CLEAR_ERRORS, AnnotatorRow
from segmend.audit.auditor import Audit
from segmend.audit.checks import Finding
from segmend.audit.expected_dice import LEAST_COMPETENCE, SHARED, CohortStatistics
from segmend.audit.folder import AuditFolder
from segmend.audit.judges import JudgeRow
from segmend.audit.reliability import BELOW, EXPERTS, Reliability, share_below
from segmend.audit.rounds import EarlierRound, summarise_changes
from segmend.audit.rows import LabelRow, RegionRow
from segmend.core.case import Quality, Split
from segmend.core.tables import write_json, write_rows, write_table
from segmend.data.folder import DataFolder
from segmend.data.image import PICTURES

_SHARED_ERRORS = (
    "No expert label is unseen by its model: the expected Dice takes the errors of the labels to be independent of the "
    "model's. Errors that most labels share, of a program or a registration, are learned and cannot be seen."
)
_IN_TRAINING_SET = (
    "The labels of 'cases_seen_by_their_model' were trained on by the model that judges them, "
    "so they look better than they are."
)


def write_audit(
    place: AuditFolder,
    folder: DataFolder,
    found: Audit,
    findings: Sequence[Finding],
    assumed: Sequence[str] = (),
    before: EarlierRound | None = None,
    judges: Sequence[JudgeRow] = (),
) -> pd.DataFrame:
    """Write all tables, ``audit.json`` last.

    Args:
        place: where.
        folder: that was audited.
        found: what was found.
        findings: hints of the checks that need no comparison.
        assumed: what is to be said of the evidence, the first of the remarks.
        before: an earlier round, to compare with.
        judges: rows of ``judges.csv``, which is written where there are any.

    Returns:
        The table of ``audit.csv``.
    """
    table = write_rows(place.labels, LabelRow, found.labels)
    write_rows(place.regions, RegionRow, found.regions)
    write_rows(place.annotators, AnnotatorRow, found.annotators)
    write_rows(place.checks, Finding, findings)
    if judges:
        write_rows(place.judges, JudgeRow, judges)
    in_training_set = sorted({row.case for row in found.labels if row.in_training_set})
    summary: dict[str, Any] = {
        "data": str(folder.root.resolve()),
        "evidence": place.read_settings()["evidence"],
        "cases": len({row.case for row in found.labels}),
        "cases_seen_by_their_model": in_training_set,
        "temperature": found.temperature,
        "thresholds": {name: value if math.isfinite(value) else None for name, value in found.thresholds.items()},
        "usual": {name: asdict(of_class) for name, of_class in found.references.items()},
        "remarks": [
            *assumed,
            *make_remarks(found.labels, found.references, unit_of(folder), advice(place)),
            *_on_shared_errors(found),
        ],
        "suspect": sum(row.suspect for row in found.labels),
        "share_below": _share_below(found),
        "reliability": {name: _reliability(of_class) for name, of_class in found.reliability.items()},
        "regions": len(found.regions),
        "findings": len(findings),
    }
    if before:
        since = before.since(table, folder.select(Split.TRAIN))
        write_table(place.since, since, "%.6g")
        summary["since"] = summarise_changes(since)
    write_json(place.summary, summary | ({"warning": _IN_TRAINING_SET} if in_training_set else {}))
    return table


def _share_below(found: Audit) -> dict[str, float | int]:
    """Of the labels whose class the model has learned."""
    judged = [row.expected_dice for row in found.labels if found.references[row.label].competent]
    share, low, high = share_below(judged)
    return {"dice": BELOW, "labels": len(judged), "share": share, "from": low, "to": high}


def _reliability(found: Reliability) -> dict[str, Any]:
    known = {"error": found.error, "bias": found.bias} if found.expected else {"error": None, "bias": None}
    return {"against": found.against, **known, "expected": list(found.expected), "found": list(found.found)}


def headline(summary: Mapping[str, Any], labels: int) -> str:
    """How good the labels are, in a sentence.

    Args:
        summary: content of ``audit.json``.
        labels: number of rows of ``audit.csv``.
    """
    below: Mapping[str, Any] = summary["share_below"]
    if not below["labels"]:
        return f"None of {labels} labels is judged: the model has not learned their classes."
    share, low, high = (f"{100 * below[each]:.0f}" for each in ("share", "from", "to"))
    judged = f"{labels} labels" if below["labels"] == labels else f"the {below['labels']} labels that can be judged"
    return (
        f"{share} % of {judged} ({low} to {high} %) are expected to have a Dice below {below['dice']}. "
        f"Suspect: {summary['suspect']}."
    )


def make_remarks(
    rows: Sequence[LabelRow], references: Mapping[str, CohortStatistics], unit: str, remedy: str
) -> list[str]:
    """Write one remark for each class that the model has not learned, and one if most labels have a boundary offset.

    Args:
        rows: all labels.
        references: reference statistics of each class.
        unit: unit of distances, 'mm' or 'pixels'.
        remedy: what gives a model that has learned the classes, in a sentence.
    """
    return [*_on_low_competence(rows, references, remedy), *_on_offsets(rows, unit)]


def unit_of(folder: DataFolder) -> str:
    """Unit of distances: pictures of microscopes have no millimetres."""
    return "pixels" if folder.file_ending in PICTURES else "mm"


def _on_shared_errors(found: Audit) -> Iterator[str]:
    """Errors that the model has learned from the labels, or that nothing is known of them."""
    noisy = any(row.quality == Quality.NOISY for row in found.labels)
    tested = [name for name, each in found.reliability.items() if each.against == EXPERTS]
    if noisy and not tested:
        yield _SHARED_ERRORS
    for name in tested:
        if found.references[name].shared > SHARED:
            yield (
                f"Labels of '{name}' agree with the model more than expert labels do: it has learned errors that they "
                "share, and cannot find these. Their expected Dice is that of the model's own outlines; it ranks them "
                "less well."
            )


def _on_low_competence(
    rows: Sequence[LabelRow], references: Mapping[str, CohortStatistics], remedy: str
) -> Iterator[str]:
    with_offsets = {row.label for row in rows if not math.isnan(row.correction_se_mm)}
    for label, reference in references.items():
        if not reference.competent:
            of_offsets = " Boundary offsets need less, and are reported." if label in with_offsets else ""
            yield (
                f"The model has not learned '{label}': the median expected Dice of its own outlines is "
                f"{reference.best_dice:.2f}, below {LEAST_COMPETENCE}. Its labels are not judged: nothing is proposed, "
                f"and nothing is said of their annotators. {remedy}{of_offsets}"
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
