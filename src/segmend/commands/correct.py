"""segmend correct."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from segmend.audit.corrections import FILE, Correction, read_corrections, write_corrections
from segmend.audit.folder import AuditFolder
from segmend.commands.correct_choices import Choice, Wishes, choose
from segmend.commands.correct_ignore import description_with_ignore, ignored_value
from segmend.commands.correct_labels import CorrectedLabel, Corrector
from segmend.commands.correct_soft import SoftCorrections
from segmend.commands.correct_summary import Summary, write_preview
from segmend.core.case import Quality
from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder, require_empty
from segmend.core.io import check_writable
from segmend.core.paths import is_file
from segmend.core.progress import say, track
from segmend.data.cases_table import write_cases
from segmend.data.copying import copy_files
from segmend.data.folder import DataFolder

_CORRUPTION = "corruption.csv"
"""How labels were made noisy, if they were; a copy keeps it."""


def correct(
    *,
    data: Path,
    audit: Path,
    out: Path | None = None,
    decisions: Path | None = None,
    minimum_score: float | None = None,
    correct_offsets: bool = False,
    change_expert: bool = False,
    ignore_issues: bool = False,
    confirmed_expert: bool = True,
    soft: bool = False,
    preview: bool = False,
    cases: Path | None = None,
) -> pd.DataFrame:
    """Apply the proposals of an audit to a copy of a data folder, or preview what that changes.

    The proposals applied are those that a person has accepted (``decisions``), or else those with a high enough
    score, unless they erase or create a whole object: only a person can accept these. A label keeps its header; only
    its voxels change. Images are hard links where the file system allows
    it, labels are copies, and the given folder is not changed. ``corrections.csv`` in the copy lists what
    was changed where and why, with the expected Dice before and after, and keeps the changes of earlier rounds. The
    copy is a data folder like any other: train on it, or audit it again.

    Args:
        data: the data folder that was audited.
        audit: the folder that 'segmend audit' wrote.
        out: the data folder to write. With a preview the CSV file to write, by default preview.csv in the audit's
            folder; its summary is in a JSON file of the same name.
        decisions: a table with columns case, label (a class name) and decision (accept, reject, unsure or replace).
            Only what is accepted is changed. A number in the column region confines a decision to that region; replace
            takes the label in the column file as that of the whole case. A column audit must name this audit.
        minimum_score: follow proposals whose 'proposal_score' in audit.csv is at least this, 0..1; 0.5 by default.
            With a table of decisions: also those that it does not mention.
        correct_offsets: also shift the surfaces of all other noisy labels by 'correction_mm' of audit.csv, where that
            is more than its own uncertainty: for folders in which most labels are over- or under-segmented, so that
            none of them is flagged. Labels that were rejected stay.
        change_expert: also change expert labels, which are left alone otherwise.
        ignore_issues: have training ignore the issues of suspect labels that are neither corrected nor decided about:
            their voxels get the label 'ignore', which dataset.json of the copy gets if it has none.
        confirmed_expert: write a case as expert in cases.csv if people were sure of all of its audited classes.
        soft: also write soft labels into the folder 'soft', for 'segmend train --labels soft': the audit's calibrated
            probabilities where a label was changed, the label itself elsewhere.
        preview: write no data folder; show which labels would change, and by how much, those first that are expected
            to become worse.
        cases: a table to use instead of cases.csv, as in the audit.

    Returns:
        The rows that this round adds to ``corrections.csv``; of a preview, the table that it writes.

    Raises:
        InputError: the audit is not of this folder, labels have changed since, a decision cannot be followed, or
            the output folder holds something.

    Example:
        segmend correct --data DATA --audit AUDIT --out DATA2 --minimum_score 0.7
    """
    folder = DataFolder.open(data, cases)
    place = AuditFolder(audit)
    table = place.read_labels()
    _check_arguments(minimum_score, soft=soft, ignore_issues=ignore_issues)
    out = _checked_preview(out, place, data) if preview else _checked_folder(out, data)
    if correct_offsets and "correction_mm" not in table:
        raise InputError(place.labels, "has no column 'correction_mm'", "audit the folder again", code="missing-value")
    wishes = Wishes(decisions, minimum_score, correct_offsets, change_expert, ignore_issues)
    choices = choose(folder, place, table, wishes)
    soft_labels = SoftCorrections(folder, place) if soft else None
    before = read_corrections(data)
    number = 1 + max((correction.round for correction in before), default=0)
    corrector = Corrector(folder, place, number)
    confirmed = _newly_expert(choices) if confirmed_expert else []
    new_value = ignored_value(folder) if ignore_issues and folder.ignore is None else None
    results: list[CorrectedLabel] = []
    if preview:
        for choice in track(choices, "previewing corrections"):
            results.append(corrector.corrected(choice).without_values())
        summary = Summary.of(folder, results, table, confirmed, new_value)
        write_preview(out, summary)
        _tell(corrector, summary, f"all labels that would change: {out}", preview=True)
        return summary.table
    with atomic_folder(out) as copy:
        copy_files(data, copy, folder.cases)
        if is_file(data / _CORRUPTION):
            shutil.copyfile(data / _CORRUPTION, copy / _CORRUPTION)
        for choice in track(choices, "correcting labels"):
            result = corrector.corrected(choice)
            result.write(folder, copy)
            results.append(result.without_values())
        rows = [row for result in results for row in result.rows]
        ignores = any(result.ignored for result in results)
        (copy / "dataset.json").write_bytes(description_with_ignore(folder) if ignores else folder.description)
        if soft_labels:
            drawn = {row.case for row in rows if row.reason == "replaced"}
            soft_labels.write(copy, {row.case for row in rows}, drawn)
        expert = [replace(case, quality=Quality.EXPERT) if case.name in confirmed else case for case in folder.cases]
        write_cases(copy / "cases.csv", expert)
        write_corrections(copy / FILE, [*before, *rows])
    summary = Summary.of(folder, results, table, confirmed, new_value)
    _tell(corrector, summary, f"all labels that changed: {out / FILE}", preview=False)
    return pd.DataFrame(rows, columns=list(Correction.__dataclass_fields__))


def _check_arguments(minimum_score: float | None, *, soft: bool, ignore_issues: bool) -> None:
    if minimum_score is not None and not 0 <= minimum_score <= 1:
        raise InputError("minimum_score", f"is {minimum_score}", "give a score from 0 to 1", code="invalid-value")
    if soft and ignore_issues:
        problem = "are both true, but soft labels have a probability at every voxel and ignore none"
        raise InputError("soft, ignore_issues", problem, "choose one of them", code="mismatch")


def _checked_folder(out: Path | None, data: Path) -> Path:
    """The folder to write, which must be empty and elsewhere."""
    if out is None:
        remedy = "name the data folder to write, or add `preview true` to see what would change"
        raise InputError("out", "is missing", remedy, code="missing-value")
    _check_elsewhere(out, data)
    require_empty(out)
    return out


def _checked_preview(out: Path | None, place: AuditFolder, data: Path) -> Path:
    """The table that a preview writes."""
    file = out or place.preview
    _check_elsewhere(file, data)
    if file.suffix != ".csv":
        remedy = "a preview writes a table: leave `out` out, or give it a name that ends in .csv"
        raise InputError(file, "does not end in .csv", remedy, code="invalid-value")
    for each in (file, file.with_suffix(".json")):
        check_writable(each)
    return file


def _check_elsewhere(out: Path, data: Path) -> None:
    if out.resolve().is_relative_to(data.resolve()):
        raise InputError(
            out, "lies in the data folder, which is not changed", "choose a folder elsewhere", code="invalid-value"
        )


def _newly_expert(choices: Sequence[Choice]) -> list[str]:
    """Cases that people confirmed and that are not expert yet."""
    return [choice.case.name for choice in choices if choice.confirmed and choice.case.quality is not Quality.EXPERT]


def _tell(corrector: Corrector, summary: Summary, last: str, *, preview: bool) -> None:
    corrector.estimator.report_unknown()
    for line in (*summary.in_words(preview=preview), last):
        say(line)
