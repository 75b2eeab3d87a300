"""segmend correct."""

from __future__ import annotations

import shutil
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.audit.by_region import region_view
from segmend.audit.corrections import FILE, Correction, apply_changes, box_text, read_corrections, write_corrections
from segmend.audit.folder import AuditFolder
from segmend.audit.offsets import shift_boundaries
from segmend.audit.rows import shifts_boundary
from segmend.commands.correct_soft import SoftCorrections
from segmend.core.case import Case, Quality
from segmend.core.errors import InputError, did_you_mean
from segmend.core.folders import atomic_folder, require_empty
from segmend.core.grid import Grid
from segmend.core.masks import IGNORE
from segmend.core.paths import is_file
from segmend.core.progress import say, track
from segmend.core.regions import mask_of, with_regions
from segmend.data.cache import digest_of
from segmend.data.cases_table import write_cases
from segmend.data.copying import copy_files
from segmend.data.finding import remedy_of_name
from segmend.data.folder import DataFolder
from segmend.data.image import read_label, write_label
from segmend.data.names import canonical
from segmend.data.raters import read_drawing
from segmend.data.tables import read_table

DECISIONS = ("accept", "reject", "unsure")
MINIMUM_SCORE = 0.5

_CORRUPTION = "corruption.csv"
"""How labels were made noisy, if they were; a copy keeps it."""


def correct(
    *,
    data: Path,
    audit: Path,
    out: Path,
    decisions: Path | None = None,
    minimum_score: float | None = None,
    correct_offsets: bool = False,
    change_expert: bool = False,
    soft: bool = False,
    cases: Path | None = None,
) -> pd.DataFrame:
    """Apply the proposals of an audit to a copy of a data folder.

    The proposals applied are those that a person has accepted (``decisions``), or else those with a high enough
    score. A label keeps its header; only its voxels change. Images are hard links where the file system allows
    it, labels are copies, and the given folder is not changed. ``corrections.csv`` in the copy lists what
    was changed where and why, and keeps the changes of earlier rounds. The copy is a data folder like any
    other: train on it, or audit it again.

    Args:
        data: the data folder that was audited.
        audit: the folder that 'segmend audit' wrote.
        out: the data folder to write.
        decisions: a table with columns case, label (a class name) and decision (accept, reject or unsure). Only
            what is accepted is changed. A column audit, as the page of the audit writes it, must name this audit.
        minimum_score: follow proposals whose 'proposal_score' in audit.csv is at least this, 0..1; 0.5 by default.
            With a table of decisions: also those that it does not mention.
        correct_offsets: also shift the surfaces of all other noisy labels by 'correction_mm' of audit.csv, where that
            is more than its own uncertainty: for folders in which most labels are over- or under-segmented, so that
            none of them is flagged. Labels that were rejected stay.
        change_expert: also change expert labels, which are left alone otherwise.
        soft: also write soft labels into the folder 'soft', for 'segmend train --labels soft': the audit's calibrated
            probabilities where a label was changed, the label itself elsewhere.
        cases: a table to use instead of cases.csv, as in the audit.

    Returns:
        The rows that this round adds to ``corrections.csv``.

    Raises:
        InputError: the audit is not of this folder, labels have changed since, a decision cannot be followed, or
            the output folder holds something.

    Example:
        segmend correct --data DATA --audit AUDIT --out DATA2 --minimum_score 0.7
    """
    folder = DataFolder.open(data, cases)
    place = AuditFolder(audit)
    table = place.read_labels()
    if minimum_score is not None and not 0 <= minimum_score <= 1:
        raise InputError("minimum_score", f"is {minimum_score}", "give a score from 0 to 1", code="invalid-value")
    if out.resolve().is_relative_to(data.resolve()):
        raise InputError(
            out, "lies in the data folder, which is not changed", "choose a folder elsewhere", code="invalid-value"
        )
    require_empty(out)
    if correct_offsets and "correction_mm" not in table:
        raise InputError(place.labels, "has no column 'correction_mm'", "audit the folder again", code="missing-value")
    plan = _plan(folder, place, table, decisions, minimum_score, correct_offsets, change_expert)
    soft_labels = SoftCorrections(folder, place) if soft else None
    before = read_corrections(data)
    number = 1 + max((correction.round for correction in before), default=0)
    rows: list[Correction] = []
    with atomic_folder(out) as copy:
        copy_files(data, copy, folder.cases)
        (copy / "dataset.json").write_bytes(folder.description)
        if is_file(data / _CORRUPTION):
            shutil.copyfile(data / _CORRUPTION, copy / _CORRUPTION)
        for name, choice in track(plan.items(), "correcting labels"):
            rows += _corrected(folder, place, name, choice, copy, number)
        if soft_labels:
            soft_labels.write(copy, sorted({row.case for row in rows}))
        write_cases(copy / "cases.csv", folder.cases)
        write_corrections(copy / FILE, [*before, *rows])
    say(f"{len(rows)} labels of {len({row.case for row in rows})} cases corrected")
    return pd.DataFrame(rows, columns=list(Correction.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is to become of a case.

    Attributes:
        wanted: reason and row of each class that changes: if the reason is "offset", its surface moves, otherwise
            its proposal is followed.
        refused: classes that must stay.
    """

    wanted: Mapping[str, tuple[str, Mapping[Hashable, Any]]]
    refused: frozenset[str]


def _plan(
    folder: DataFolder,
    place: AuditFolder,
    table: pd.DataFrame,
    decisions: Path | None,
    minimum_score: float | None,
    correct_offsets: bool,
    change_expert: bool,
) -> dict[str, _Choice]:
    """What is to become of each case in which something changes."""
    decided = _read_decisions(decisions, table, place.mark) if decisions else {}
    bar = minimum_score if minimum_score is not None else None if decisions else MINIMUM_SCORE
    settings = place.read_settings()
    digests = settings.get("labels", {})
    _check_classes(folder, settings, place, table)
    audited = {case.name: case for case in folder.cases if case.name in digests}
    plan = {}
    for name, rows in table.groupby("case", sort=True):
        case = audited.get(str(name))
        if case is None:
            raise InputError(
                folder.root, f"has no case '{name}', which was audited", "give the folder of the audit", code="mismatch"
            )
        wanted, refused = {}, set()
        for row in rows.to_dict("records"):
            decision = decided.get((row["case"], row["label"]))
            sure = bar is not None and row["proposal"] != "none" and row["proposal_score"] >= bar
            if decision == "accept" or (decision is None and sure):
                wanted[row["label"]] = ("accepted" if decision else "score", row)
            elif decision:
                refused.add(row["label"])
            elif correct_offsets and shifts_boundary(row["correction_mm"], row["correction_se_mm"]):
                wanted[row["label"]] = ("offset", row)
        if case.quality is Quality.EXPERT and wanted and not change_expert:
            if any(reason == "accepted" for reason, _ in wanted.values()):
                problem = f"accepts a change of the expert case '{name}'"
                raise InputError(
                    decisions, problem, "add `change_expert true`, or take the line out", code="invalid-value"
                )
            continue
        if wanted:
            _check_unchanged(case, digests, settings.get("images", {}))
            plan[case.name] = _Choice(wanted, frozenset(refused))
    return plan


def _check_classes(folder: DataFolder, settings: Mapping[str, Any], place: AuditFolder, table: pd.DataFrame) -> None:
    """Proposals are files of label values: these must mean what they meant to the audit."""
    classes = folder.labels | {"ignore": folder.ignore}
    if settings.get("classes", classes) != classes:
        problem = f"names the classes {classes}, but those that were audited are {settings['classes']}"
        raise InputError(
            folder.root / "dataset.json", problem, "restore it, or audit the folder again", code="mismatch"
        )
    names = list(folder.objects)
    unknown = sorted(set(table["label"]) - set(names))
    if unknown:
        raise InputError(
            place.labels, f"judges a label '{unknown[0]}'", did_you_mean(unknown[0], names), code="mismatch"
        )


def _check_unchanged(case: Case, digests: Mapping[str, str], of_images: Mapping[str, str]) -> None:
    if case.label is None or digest_of(case.label) != digests[case.name]:
        raise InputError(
            case.label or case.name, "is not the label that was audited", "audit the folder again", code="changed-data"
        )
    if case.name in of_images and digest_of(*case.images) != of_images[case.name]:
        raise InputError(
            case.images[0], "is not the scan that was audited", "audit the folder again", code="changed-data"
        )


def _read_decisions(path: Path, table: pd.DataFrame, mark: str) -> dict[tuple[str, str], str]:
    """Decision by case and label."""
    known = {
        (canonical(case), canonical(label)): (case, label)
        for case, label in zip(table["case"], table["label"], strict=True)
    }
    proposing = table[table["proposal"] != "none"]
    proposed = set(zip(proposing["case"], proposing["label"], strict=True))
    decided: dict[tuple[str, str], str] = {}
    columns = ("case", "label", "decision")
    remedy = f"give a table with the columns {', '.join(columns)}"
    given = read_table(path, (*columns, "audit"), remedy=remedy)
    for column in columns:
        if column not in given.columns:
            raise InputError(path, f"has no column '{column}'", remedy, code="missing-value")
    for row in given.rows:
        case, label, decision = row.cells["case"], row.cells["label"], row.choice("decision", DECISIONS)
        if not decision:
            raise InputError(row.where, "decision is ''", f"write {' or '.join(DECISIONS)}", code="invalid-value")
        if (case, label) not in known:
            cases = {name for name, _ in known}
            labels = {name for _, name in known}
            advice = remedy_of_name(label, labels) if case in cases else remedy_of_name(case, cases)
            raise InputError(row.where, f"case '{case}', label '{label}' was not audited", advice, code="unknown-name")
        audited = known[case, label]
        if decided.get(audited, decision) != decision:
            raise InputError(
                row.where, f"case '{case}', label '{label}' is decided twice", "keep one line", code="duplicate"
            )
        _check_of_this_audit(row.where, row.cells.get("audit") or mark, mark)
        if decision == "accept" and audited not in proposed:
            problem = f"accepts a change of case '{case}', label '{label}', but the audit proposes none"
            raise InputError(
                row.where, problem, "give the table that was made of this audit, or take the line out", code="mismatch"
            )
        decided[audited] = decision
    return decided


def _check_of_this_audit(where: str, named: str, mark: str) -> None:
    if named.strip() != mark:
        remedy = "give the table that was downloaded from the report.html of this audit"
        raise InputError(where, f"is of the audit {named.strip()}, not of {mark}", remedy, code="mismatch")


def _corrected(
    folder: DataFolder, place: AuditFolder, name: str, choice: _Choice, copy: Path, number: int
) -> list[Correction]:
    """Writes the corrected label of a case into the copy, and says what was changed."""
    (case,) = (case for case in folder.cases if case.name == name)
    assert case.label is not None
    values, grid = read_label(case.label)
    given = folder.to_indices(values)
    if folder.regions:
        new = _corrected_regions(folder, place, name, choice, given, grid)
    else:
        new = _corrected_classes(folder, place, name, choice, given, grid)
    rows = []
    for label, (reason, row) in choice.wanted.items():
        now, before = (mask_of(each, folder.objects[label]) for each in (new, given))
        added, removed = now & ~before, before & ~now
        if (added | removed).any():
            rows.append(
                Correction(
                    round=number,
                    case=name,
                    label=label,
                    kind=row["kind"],
                    reason=reason,
                    score=f"{row['score']:.6g}",
                    proposal=f"moved {row['correction_mm']:+.2f} mm" if reason == "offset" else row["proposal"],
                    proposal_score="" if reason == "offset" else f"{row['proposal_score']:.6g}",
                    added_voxels=int(np.count_nonzero(added)),
                    removed_voxels=int(np.count_nonzero(removed)),
                    box=box_text(added | removed),
                )
            )
    if rows:
        # What is not annotated, and values that dataset.json does not name, stay as they are in the file.
        write_label(
            copy / case.label.relative_to(folder.root),
            np.where(new == IGNORE, values, folder.to_values(new)),
            like=case.label,
        )
    return rows


def _corrected_classes(
    folder: DataFolder, place: AuditFolder, name: str, choice: _Choice, given: NDArray[np.uint8], grid: Grid
) -> NDArray[np.uint8]:
    """The label with what was chosen, ``[*spatial]`` class indices."""
    proposed = read_drawing(place.proposal(name, folder.file_ending), folder, grid)
    index = {label: number for number, label in enumerate(folder.labels)}
    moves = {
        index[label]: float(row["correction_mm"]) for label, (why, row) in choice.wanted.items() if why == "offset"
    }
    followed = [index[label] for label in choice.wanted if index[label] not in moves]
    refused = [index[label] for label in choice.refused]
    new = apply_changes(given, proposed, followed, refused)
    return apply_changes(new, shift_boundaries(new, moves, grid.spacing), list(moves), [*refused, *followed])


def _corrected_regions(
    folder: DataFolder, place: AuditFolder, name: str, choice: _Choice, given: NDArray[np.uint8], grid: Grid
) -> NDArray[np.uint8]:
    """The label with what was chosen of each region, ``[*spatial]`` class indices."""
    masks = {}
    for region, (why, row) in choice.wanted.items():
        view = region_view(folder, region)
        if why == "offset":
            own = mask_of(given, folder.regions[region]).astype(np.uint8)
            masks[region] = shift_boundaries(own, {1: float(row["correction_mm"])}, grid.spacing) == 1
        else:
            file = place.of_region(region).proposal(name, folder.file_ending)
            masks[region] = read_drawing(file, view, grid) == 1
    return with_regions(given, masks, folder.regions)
