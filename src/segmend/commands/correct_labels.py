"""segmend correct: corrected labels case by case, and what was changed in them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.audit.corrections import Correction, box_text
from segmend.audit.expected_change import ChangeEstimator, ExpectedChange
from segmend.audit.folder import AuditFolder
from segmend.audit.whole_objects import ObjectChanges
from segmend.commands.correct_choices import Choice
from segmend.commands.correct_drawing import draw, touched
from segmend.commands.correct_ignore import doubtful_voxels, ignored_value
from segmend.core.masks import IGNORE, Mask
from segmend.core.regions import mask_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_label, write_label
from segmend.metrics.surface import assd, surface_distances


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedLabel:
    """What becomes of the label of a case.

    Attributes:
        choice: what was chosen for the case.
        rows: a row for each class or region that changes.
        held: labels that were left, as their correction would erase or create whole objects.
        values: ``[*spatial]`` values to write; None where nothing changes.
        ignored: number of voxels that are ignored from now on.
    """

    choice: Choice
    rows: tuple[Correction, ...]
    held: Mapping[str, ObjectChanges]
    values: NDArray[np.integer] | None
    ignored: int = 0

    def write(self, folder: DataFolder, copy: Path) -> None:
        """Write the label into a copy of the data folder; nothing, if it does not change.

        Args:
            folder: the data folder.
            copy: its copy.

        Raises:
            InputError: it cannot be written.
        """
        label = self.choice.case.label
        if self.values is not None and label is not None:
            write_label(copy / label.relative_to(folder.root), self.values, like=label)

    def without_values(self) -> CorrectedLabel:
        """The same without its array, to be kept for all cases."""
        return replace(self, values=None)


class Corrector:
    """Corrects labels; a preview and the correction itself are the same but for the files that are written.

    Args:
        folder: the data folder.
        place: the audit.
        number: of this round of corrections.

    Raises:
        InputError: ``audit.json`` is damaged.
    """

    def __init__(self, folder: DataFolder, place: AuditFolder, number: int) -> None:
        self._folder, self._place, self._number = folder, place, number
        self.estimator = ChangeEstimator(folder, place)

    def corrected(self, choice: Choice) -> CorrectedLabel:
        """The corrected label of a case.

        Args:
            choice: what is to become of it.

        Raises:
            InputError: a file of the case cannot be used.
        """
        if not choice.changes:
            return CorrectedLabel(choice, (), {}, None)
        folder, label = self._folder, choice.case.label
        assert label is not None
        values, grid = read_label(label)
        given = folder.to_indices(values)
        drawn = draw(folder, self._place, choice, given, grid)
        followed = (choice.scored | choice.moved.keys()) - drawn.held.keys()
        ignored = doubtful_voxels(folder, self._place, choice, given, grid, choice.ignored - followed)
        ignored = {name: mask & (drawn.label == given) for name, mask in ignored.items()}
        final = drawn.label
        if ignored:
            final = np.where(np.logical_or.reduce(list(ignored.values())), np.uint8(IGNORE), final)
        if (final == given).all():
            return CorrectedLabel(choice, (), drawn.held, None)
        rows = self._rows(choice, given, drawn.label, final, ignored, grid.spacing, drawn.held)
        # What does not change keeps its value: several may stand for one class, and some have no name at all.
        written = replace(folder, ignore=ignored_value(folder)) if (final == IGNORE).any() else folder
        new_values = np.where(final == given, values, written.to_values(final))
        now_ignored = int(np.count_nonzero((final == IGNORE) & (drawn.label != IGNORE)))
        return CorrectedLabel(choice, tuple(rows), drawn.held, new_values, now_ignored)

    def _rows(
        self,
        choice: Choice,
        given: NDArray[np.uint8],
        drawn: NDArray[np.uint8],
        final: NDArray[np.uint8],
        ignored: Mapping[str, Mask],
        spacing: tuple[float, ...],
        held: Mapping[str, ObjectChanges],
    ) -> list[Correction]:
        """A row of each label that changes, or of whose voxels some are ignored."""
        names = [name for name in choice.rows if name in touched(self._folder, given, final, choice.rows)]
        names += [name for name, mask in ignored.items() if mask.any() and name not in names]
        expected = self.estimator.estimate(choice.case.name, given, final, names)
        rows = []
        for name in names:
            before, after = (mask_of(label, self._folder.objects[name]) for label in (given, drawn))
            differing = before != after
            without = ignored.get(name, np.zeros_like(differing)) | (before & (final == IGNORE) & (given != IGNORE))
            without &= ~differing
            if not (differing.any() or without.any()):
                continue
            row = replace(
                _why(choice, name, held, self._number, changed=bool(differing.any())),
                added_voxels=int(np.count_nonzero(after & ~before)),
                removed_voxels=int(np.count_nonzero(before & ~after)),
                box=box_text(differing | without),
                changed_mm3=f"{np.count_nonzero(differing) * math.prod(spacing):.6g}",
                distance_mm=_distance(before, after, spacing),
                ignored_voxels=int(np.count_nonzero(without)),
            )
            rows.append(_with_expectation(row, choice.rows[name], expected.get(name)))
        return rows


def _why(choice: Choice, name: str, held: Mapping[str, ObjectChanges], number: int, *, changed: bool) -> Correction:
    """The row of a label, with the reason of its change but not yet its extent."""
    audited, decisions = choice.rows[name], choice.decisions
    decision = decisions.replacement or decisions.labels.get(name)
    accepted = [each for each in decisions.regions if each.label == name and each.decision.choice == "accept"]
    reason, proposal, score, by = "neighbour", "", "", None
    if decisions.replacement and decisions.replacement.file:
        reason, proposal, by = "replaced", decisions.replacement.file.name, decision
    elif name in choice.accepted or (name in choice.scored and name not in held):
        reason = "accepted" if name in choice.accepted else "score"
        proposal, score, by = str(audited["proposal"]), f"{audited['proposal_score']:.6g}", decision
    elif name in choice.moved and name not in held:
        reason, proposal = "offset", f"moved {choice.moved[name]:+.2f} mm"
    elif accepted:
        reason, by = "accepted", accepted[0].decision
        proposal = f"region {' '.join(str(each.number) for each in accepted)}"
    elif not changed:
        reason = "ignored"
    return Correction(
        round=number,
        case=choice.case.name,
        label=name,
        kind=str(audited.get("kind", "")),
        reason=reason,
        score=f"{audited['score']:.6g}",
        proposal=proposal,
        proposal_score=score,
        added_voxels=0,
        removed_voxels=0,
        box="",
        reader=by.reader if by else "",
        comment=by.comment if by else "",
    )


def _with_expectation(row: Correction, audited: Mapping[Hashable, Any], change: ExpectedChange | None) -> Correction:
    """The row with the expected Dice before and after, if it is known."""
    if change is None:
        return row
    # A correction changes no voxel that its proposal leaves as it is: of equal number, they are the same voxels.
    whole = row.reason in ("accepted", "score") and row.ignored_voxels == 0
    whole = whole and row.added_voxels + row.removed_voxels == audited.get("changed_voxels")
    stated = change.from_table(
        _number(audited.get("expected_dice")), _number(audited.get("expected_dice_proposal")) if whole else None
    )
    return replace(row, expected_dice_before=f"{stated.before:.6g}", expected_dice_after=f"{stated.after:.6g}")


def _number(cell: object) -> float | None:
    return float(cell) if isinstance(cell, (int, float)) and not pd.isna(cell) else None


def _distance(before: Mask, after: Mask, spacing: tuple[float, ...]) -> str:
    """Average symmetric surface distance; "" where one of the masks is empty."""
    if not (before.any() and after.any()):
        return ""
    return f"{assd(surface_distances(before, after, spacing)):.6g}"
