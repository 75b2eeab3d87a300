"""How far the labels of a run have moved: from the given ones, and towards the truth where that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.data.cache import PreparedCase
from segmend.labels.store import LabelStore
from segmend.metrics import mean_dice
from segmend.outputs import whole_file


class LabelHistory:
    """Keeps ``labels.csv``: a row for each revision, case and layer, the given labels as revision 0 included.

    Columns: ``step`` (the first that sees the labels), ``revision``, ``case``, ``quality``, ``layer``,
    ``changed`` (voxels that differ from the revision before), ``changed_from_given``, and the mean Dice over
    the foreground classes, ``dice_to_given`` and ``dice_to_truth``, empty where there is nothing to compare with.

    Args:
        path: the CSV file.
        labels: of the run.
        cases: all training cases.
        classes: number of classes, background included.
        truth: true labels ``[*spatial]`` by case, where they are known; nothing else ever sees them.
    """

    def __init__(
        self,
        path: Path,
        labels: LabelStore,
        cases: Sequence[PreparedCase],
        classes: int,
        truth: Mapping[str, NDArray[np.uint8]],
    ) -> None:
        self.path, self.labels, self.cases, self.classes, self.truth = path, labels, cases, classes, truth
        self._rows: list[dict[str, Any]] = []
        self._measured: dict[tuple[str, str, int], dict[str, Any]] = {}

    def update(self) -> None:
        """Adds the revisions that are new, and writes the table."""
        known = self._rows[-1]["revision"] + 1 if self._rows else 0
        for revision in range(known, self.labels.count + 1):
            self._rows += [self._row(case, layer, revision) for case in self.cases for layer in self.labels.layers]
        with whole_file(self.path) as file:
            pd.DataFrame(self._rows).to_csv(file, index=False)

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
            label = self.labels.label(name, layer, revision)
            truth = self.truth.get(name)
            self._measured[name, layer, revision] = {
                "changed_from_given": int(np.count_nonzero(label != case.given)),
                "dice_to_given": mean_dice(label, case.given, self.classes),
                "dice_to_truth": float("nan") if truth is None else mean_dice(label, truth, self.classes),
            }
        return self._measured[name, layer, revision]
