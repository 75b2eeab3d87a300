"""segmend correct: which labels change, and why."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segmend.audit.decisions import CaseDecisions, read_decisions
from segmend.audit.folder import AuditFolder
from segmend.audit.rows import SUSPECT, shifts_boundary
from segmend.core.case import Case, Quality
from segmend.core.errors import InputError, did_you_mean
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.raters import read_drawing

MINIMUM_SCORE = 0.5
"""Default of the argument ``minimum_score``."""

LabelTable = Mapping[str, Mapping[Hashable, Any]]
"""Rows of audit.csv by class or region."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for.

    Attributes:
        decisions: table of what people decided, or None.
        minimum_score: proposals with at least this score are followed; None if that was not stated.
        correct_offsets: whether the surfaces of all other noisy labels are shifted.
        change_expert: whether expert labels change, too.
        ignore_issues: whether issues of suspect labels that are not corrected are ignored.
    """

    decisions: Path | None = None
    minimum_score: float | None = None
    correct_offsets: bool = False
    change_expert: bool = False
    ignore_issues: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to become of a case.

    Attributes:
        case: the case.
        rows: what the audit says of its labels.
        decisions: what people decided.
        scored: labels whose proposal is followed because of its score.
        moved: labels whose surface is shifted, with the distance in mm.
        ignored: labels whose issues are ignored if they are not corrected.
    """

    case: Case
    rows: LabelTable
    decisions: CaseDecisions
    scored: frozenset[str]
    moved: Mapping[str, float]
    ignored: frozenset[str]

    @property
    def accepted(self) -> frozenset[str]:
        """Labels whose proposal a person accepted."""
        return frozenset(name for name, each in self.decisions.labels.items() if each.choice == "accept")

    @property
    def kept(self) -> frozenset[str]:
        """Labels that a person did not accept: they stay."""
        return frozenset(self.decisions.labels) - self.accepted

    @property
    def by_person(self) -> bool:
        """Whether a person asked for a change."""
        return any(decision.changes for decision in self.decisions.all)

    @property
    def changes(self) -> bool:
        """Whether anything may change."""
        return bool(self.by_person or self.scored or self.moved or self.ignored)

    @property
    def confirmed(self) -> bool:
        """Whether people were sure of every audited class of the case."""
        return self.decisions.confirms(self.rows)


def choose(folder: DataFolder, place: AuditFolder, table: pd.DataFrame, wishes: Wishes) -> list[Choice]:
    """What is to become of each case in which something changes or that people confirmed.

    Args:
        folder: the data folder that was audited.
        place: the audit.
        table: its ``audit.csv``.
        wishes: what is asked for.

    Raises:
        InputError: the audit is not of this folder, labels have changed since, or a decision cannot be followed.
    """
    decided = read_decisions(wishes.decisions, place, table) if wishes.decisions else {}
    settings = place.read_settings()
    digests = settings.get("labels", {})
    _check_classes(folder, settings, place, table)
    audited = {case.name: case for case in folder.cases if case.name in digests}
    choices = []
    for name, rows in table.groupby("case", sort=True):
        case = audited.get(str(name))
        if case is None:
            raise InputError(
                folder.root, f"has no case '{name}', which was audited", "give the folder of the audit", code="mismatch"
            )
        by_label = {str(row["label"]): row for row in rows.to_dict("records")}
        choice = _choice(case, by_label, decided.get(case.name, CaseDecisions()), wishes)
        if choice.changes or choice.confirmed:
            _check_unchanged(case, digests, settings.get("images", {}))
            _check_replacement(folder, choice)
            choices.append(choice)
    return choices


def _choice(case: Case, rows: LabelTable, decisions: CaseDecisions, wishes: Wishes) -> Choice:
    bar = wishes.minimum_score
    if bar is None and not wishes.decisions:
        bar = MINIMUM_SCORE
    if case.quality is Quality.EXPERT and not wishes.change_expert:
        _check_expert_stays(case, decisions)
        return Choice(case, rows, decisions, frozenset(), {}, frozenset())
    # What a person has looked at is changed as this person wants, and in no other way.
    open_rows = {name: row for name, row in rows.items() if not decisions.replacement and not decisions.listed(name)}
    scored = {
        name
        for name, row in open_rows.items()
        if bar is not None and row["proposal"] != "none" and row["proposal_score"] >= bar and not _loses(row)
    }
    moved = {
        name: float(row["correction_mm"])
        for name, row in open_rows.items()
        if wishes.correct_offsets
        and name not in scored
        and shifts_boundary(row["correction_mm"], row["correction_se_mm"])
    }
    return Choice(case, rows, decisions, frozenset(scored), moved, _ignored(rows, decisions, wishes))


def _ignored(rows: LabelTable, decisions: CaseDecisions, wishes: Wishes) -> frozenset[str]:
    """Suspect labels that no person was sure of."""
    if not wishes.ignore_issues or decisions.replacement:
        return frozenset()
    sure = {name for name, decision in decisions.labels.items() if decision.final}
    return frozenset(name for name, row in rows.items() if name not in sure and _is_suspect(row))


def _loses(row: Mapping[Hashable, Any]) -> bool:
    """Whether less is expected of the proposal than of the label as it is."""
    return bool(row.get("expected_dice_proposal", 1.0) < row.get("expected_dice", 0.0))


def _is_suspect(row: Mapping[Hashable, Any]) -> bool:
    stated = row.get("suspect")
    return bool(stated) if stated is not None and not pd.isna(stated) else bool(row["score"] < SUSPECT)


def _check_expert_stays(case: Case, decisions: CaseDecisions) -> None:
    wanted = next((decision for decision in decisions.all if decision.changes), None)
    if wanted:
        what = "replaces the label" if wanted.choice == "replace" else "accepts a change"
        problem = f"{what} of the expert case '{case.name}'"
        raise InputError(wanted.where, problem, "add `change_expert true`, or take the line out", code="invalid-value")


def _check_replacement(folder: DataFolder, choice: Choice) -> None:
    """Make sure that a new label can be read, before anything is written."""
    replacement, label = choice.decisions.replacement, choice.case.label
    if replacement and replacement.file and label:
        read_drawing(replacement.file, folder, read_grid(label))


def _check_classes(folder: DataFolder, settings: Mapping[str, Any], place: AuditFolder, table: pd.DataFrame) -> None:
    """Proposals are files of label values: these must mean what they meant to the audit."""
    classes = folder.labels | {"ignore": folder.ignore}
    if settings.get("classes", classes) != classes:
        problem = f"names the classes {classes}, but those that were audited are {settings['classes']}"
        raise InputError(
            folder.root / "dataset.json", problem, "restore it, or audit the folder again", code="mismatch"
        )
    names: Collection[str] = list(folder.objects)
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
