"""segmend correct: what a correction changes, in numbers and in words, before or after it is made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from segmend.audit.corrections import Correction
from segmend.audit.tables import unit_of
from segmend.commands.correct_labels import CorrectedLabel
from segmend.core.tables import aligned, write_json, write_table
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid

GAIN = "expected_gain"
"""Column: expected Dice after minus before; below 0 where a label is expected to become worse."""

_SHOWN = 10
"""Rows on the console."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a correction changes.

    Attributes:
        table: a row for each label that changes, columns of ``corrections.csv`` and ``GAIN``, the largest expected
            loss first.
        results: what becomes of each case.
        audited: ``audit.csv``.
        confirmed: names of the cases that become expert ones, since people were sure of all of their labels.
        ignored: value of ignored voxels, if the data folder gets one.
        unit: of distances: mm, or pixels in pictures.
        unit_of_volume: the same of volumes, or in 2D of areas.
    """

    table: pd.DataFrame
    results: Sequence[CorrectedLabel]
    audited: pd.DataFrame
    confirmed: Sequence[str]
    ignored: int | None = None
    unit: str = "mm"
    unit_of_volume: str = "mm3"

    @classmethod
    def of(
        cls,
        folder: DataFolder,
        results: Sequence[CorrectedLabel],
        audited: pd.DataFrame,
        confirmed: Sequence[str],
        ignored: int | None = None,
    ) -> Summary:
        """Summarise.

        Args:
            folder: the data folder.
            results: what becomes of each case.
            audited: ``audit.csv``.
            confirmed: cases that become expert ones.
            ignored: value of ignored voxels, if the data folder gets one.
        """
        rows = [row for result in results for row in result.rows]
        table = pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(Correction)])
        for column in ("expected_dice_before", "expected_dice_after"):
            table[column] = pd.to_numeric(table[column])
        table[GAIN] = table["expected_dice_after"] - table["expected_dice_before"]
        table = table.sort_values([GAIN, "case", "label"], kind="stable", ignore_index=True)
        unit = unit_of(folder)
        of_volume = unit if unit != "mm" else f"mm{read_grid(folder.cases[0].images[0]).dimensions}"
        return cls(table, results, audited, confirmed, ignored, unit, of_volume)

    @property
    def held(self) -> list[dict[str, Any]]:
        """Labels left for a person, as their correction would erase or create whole objects."""
        return [
            {"case": result.choice.case.name, "label": name, **asdict(changes)}
            for result in self.results
            for name, changes in result.held.items()
        ]

    def numbers(self) -> dict[str, Any]:
        """All but the rows, as ``preview.json`` holds it."""
        table, gain = self.table, self.table[GAIN]
        return {
            "audited_cases": int(self.audited["case"].nunique()),
            "audited_labels": len(self.audited),
            "changed_cases": int(table["case"].nunique()),
            "changed_labels": len(table),
            "added_voxels": int(table["added_voxels"].sum()),
            "removed_voxels": int(table["removed_voxels"].sum()),
            "changed_mm3": _round(float(pd.to_numeric(table["changed_mm3"]).sum())),
            "ignored_voxels": sum(result.ignored for result in self.results),
            "by_reason": {str(reason): int(count) for reason, count in table["reason"].value_counts().items()},
            "expected_dice_of_changed": _pair(
                table["expected_dice_before"].mean(), table["expected_dice_after"].mean()
            ),
            "expected_dice_of_all": self._of_all(),
            "labels_expected_to_gain": int((gain > 0).sum()),
            "labels_expected_to_lose": int((gain < 0).sum()),
            "labels_without_expected_dice": int(gain.isna().sum()),
            "expected_gain": _round(float(gain[gain > 0].sum())),
            "expected_loss": _round(abs(float(gain[gain < 0].sum()))),
            "left_for_a_person": self.held,
            "confirmed_cases": list(self.confirmed),
        }

    def _of_all(self) -> dict[str, float] | None:
        """Mean expected Dice of all audited labels; None where the audit does not state it."""
        if "expected_dice" not in self.audited:
            return None
        before = self.audited["expected_dice"].dropna()
        if before.empty:
            return None
        mean = float(before.mean())
        return _pair(mean, mean + float(self.table[GAIN].sum()) / len(before))

    def in_words(self, *, preview: bool) -> Iterator[str]:
        """The summary for readers, line by line.

        Args:
            preview: whether nothing was written yet.
        """
        found = self.numbers()
        change = "would change" if preview else "changed"
        yield (
            f"{found['changed_labels']} of {found['audited_labels']} labels in {found['changed_cases']} of "
            f"{found['audited_cases']} cases {change}: {found['added_voxels']} voxels added, "
            f"{found['removed_voxels']} removed, {found['changed_mm3']:g} {self.unit_of_volume} in all"
        )
        yield from self._of_expectations(found)
        yield from self._of_ignored(found, preview=preview)
        if self.held:
            names = ", ".join(f"{each['case']} {each['label']}" for each in self.held[:3])
            more = f" and {len(self.held) - 3} more" if len(self.held) > 3 else ""
            yield (
                f"{len(self.held)} labels left for a person, as a correction would erase or create a whole object "
                f"({names}{more}): accept them in a table of decisions"
            )
        if self.confirmed:
            yield f"{len(self.confirmed)} cases {'would become' if preview else 'are'} expert: all labels confirmed"

    def _of_expectations(self, found: dict[str, Any]) -> Iterator[str]:
        of_changed, of_all = found["expected_dice_of_changed"], found["expected_dice_of_all"]
        if of_changed is None:
            return
        all_labels = f"; of all labels {of_all['before']:.3f} -> {of_all['after']:.3f}" if of_all else ""
        yield f"mean expected Dice of these labels {of_changed['before']:.3f} -> {of_changed['after']:.3f}{all_labels}"
        yield (
            f"expected gain {found['expected_gain']:.2f} in Dice, summed over {found['labels_expected_to_gain']} "
            f"labels; expected loss {found['expected_loss']:.2f}, over {found['labels_expected_to_lose']}. "
            "Largest loss, or least gain, first:"
        )
        heads = ("case", "label", "reason", "added", "removed", f"distance ({self.unit})", "expected Dice", "gain")
        rows = [_cells(row) for row in self.table.head(_SHOWN).to_dict("records")]
        yield from (f"  {line}" for line in aligned([heads, *rows], names=3))
        if len(self.table) > _SHOWN:
            yield f"  and {len(self.table) - _SHOWN} more"

    def _of_ignored(self, found: dict[str, Any], *, preview: bool) -> Iterator[str]:
        if found["ignored_voxels"]:
            yield f"{found['ignored_voxels']} doubtful voxels {'would be' if preview else 'are'} ignored from now on"
            if self.ignored is not None:
                yield (
                    f"dataset.json of the copy {'would get' if preview else 'has got'} the label 'ignore' with the "
                    f"value {self.ignored}, the highest, as nnU-Net demands it"
                )


def write_preview(path: Path, summary: Summary) -> None:
    """Write the table of a preview, and its numbers next to it in a JSON file of the same name.

    Args:
        path: the CSV file.
        summary: of the correction.

    Raises:
        InputError: a file cannot be written.
    """
    write_json(path.with_suffix(".json"), summary.numbers())
    write_table(path, summary.table.drop(columns="round"), "%.6g")


def _cells(row: dict[Any, Any]) -> tuple[str, ...]:
    before, after = row["expected_dice_before"], row["expected_dice_after"]
    known = not math.isnan(before)
    return (
        *(str(row["case"]), str(row["label"]), str(row["reason"])),
        *(str(row["added_voxels"]), str(row["removed_voxels"])),
        f"{float(row['distance_mm']):.2f}" if row["distance_mm"] else "-",
        f"{before:.3f} -> {after:.3f}" if known else "unknown",
        f"{row[GAIN]:+.3f}" if known else "-",
    )


def _pair(before: float, after: float) -> dict[str, float] | None:
    return None if math.isnan(before) else {"before": _round(before), "after": _round(after)}


def _round(number: float) -> float:
    """Six digits, as in the tables."""
    return float(f"{number:.6g}")
