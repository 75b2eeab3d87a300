"""Change of the labels of a run: from the given ones, and towards the true ones where these are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segmend.core.io import atomic_file
from segmend.core.regions import annotated_objects
from segmend.data.cache import PreparedCase
from segmend.data.compressed import VoxelArray
from segmend.engine.label_store import LabelStore
from segmend.engine.offset_report import true_offset
from segmend.metrics import mean_dice


class LabelHistory:
    """Keeps ``labels.csv``: a row for each revision, case and layer, the given labels as revision 0 included.

    Columns: ``step`` (the first that sees the labels), ``revision``, ``case``, ``quality``, ``layer``,
    ``changed`` (voxels that differ from the revision before), ``changed_from_given``, and the mean Dice over
    the foreground classes, ``dice_to_given`` and ``dice_to_truth``, empty where there is nothing to compare with.

    The reports of revisions are written to a table of their own, with the columns that the method gives them after
    ``revision``, ``step`` and ``case``. To the offset of a ``label``, ``offset_mm``, the column ``true_mm`` adds the
    true one, where it is known.

    Args:
        path: the CSV file.
        labels: of the run.
        cases: all training cases.
        objects: what is segmented, by name, with the indices of its classes.
        truth: true labels ``[*spatial]`` by case, where they are known; nothing else ever sees them.
        report: name of the CSV file for the reports of revisions, next to the other; "" if the method has none.
    """

    def __init__(
        self,
        path: Path,
        labels: LabelStore,
        cases: Sequence[PreparedCase],
        objects: Mapping[str, tuple[int, ...]],
        truth: Mapping[str, VoxelArray],
        report: str = "",
    ) -> None:
        self.path, self.labels, self.cases, self.objects, self.truth = path, labels, cases, objects, truth
        self.report = report
        self._rows: list[dict[str, Any]] = []
        self._measured: dict[tuple[str, str, int], dict[str, Any]] = {}

    def update(self) -> None:
        """Add the revisions that are new, and write the tables."""
        known = self._rows[-1]["revision"] + 1 if self._rows else 0
        for revision in range(known, self.labels.count + 1):
            self._rows += [self._row(case, layer, revision) for case in self.cases for layer in self.labels.layers]
        if self._rows:
            with atomic_file(self.path) as file:
                pd.DataFrame(self._rows).to_csv(file, index=False)
        if self.report and (rows := [row for number in range(self.labels.count) for row in self._reported(number + 1)]):
            with atomic_file(self.path.with_name(self.report)) as file:
                pd.DataFrame(rows).to_csv(file, index=False)

    def _reported(self, revision: int) -> Iterator[dict[str, Any]]:
        """Rows of the method's report, with the true offsets where they are known."""
        record = self.labels.record(revision)
        for row in record.report:
            true = {"true_mm": self._true_offset(row)} if {"label", "offset_mm"} <= row.keys() else {}
            yield {"revision": revision, "step": record.step, **row, **true}

    def _true_offset(self, row: Mapping[str, str | float]) -> float | None:
        name = str(row["case"])
        case = next((case for case in self.cases if case.case.name == name), None)
        return true_offset(case, self.truth[name], int(row["label"])) if case and name in self.truth else None

    def _row(self, case: PreparedCase, layer: str, revision: int) -> dict[str, Any]:
        name = case.case.name
        record = self.labels.record(revision) if revision else None
        return {
            "step": record.step if record else 0,
            "revision": revision,
            "case": name,
            "quality": str(case.case.quality),
            "layer": layer,
            "changed": record.changed[layer].get(name, 0) if record else 0,
            **self._compared(case, layer, self.labels.holder(name, layer, revision)),
        }

    def _compared(self, case: PreparedCase, layer: str, revision: int) -> dict[str, Any]:
        """How a label compares with the given one and the truth; measured once, however long it stays as it is."""
        name = case.case.name
        if (name, layer, revision) not in self._measured:
            label, given = np.asarray(self.labels.label(name, layer, revision)), np.asarray(case.given)
            truth = self.truth.get(name)
            objects = annotated_objects(self.objects, case.case.annotated).values()
            self._measured[name, layer, revision] = {
                "changed_from_given": int(np.count_nonzero(label != given)),
                "dice_to_given": mean_dice(label, given, objects),
                "dice_to_truth": float("nan") if truth is None else mean_dice(label, np.asarray(truth), objects),
            }
        return self._measured[name, layer, revision]
