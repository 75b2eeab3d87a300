"""Change of the labels of a run: from the given ones, and towards the true ones where these are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from segmend.core.io import atomic_file
from segmend.data.cache import PreparedCase
from segmend.engine.label_store import LabelStore
from segmend.functional.morphology import signed_distance
from segmend.functional.offsets.profile import best_offset, expected_dice, sums_below
from segmend.metrics import mean_dice

_REACH = 12.0


class LabelHistory:
    """Keeps ``labels.csv``: a row for each revision, case and layer, the given labels as revision 0 included.

    Columns: ``step`` (the first that sees the labels), ``revision``, ``case``, ``quality``, ``layer``,
    ``changed`` (voxels that differ from the revision before), ``changed_from_given``, and the mean Dice over
    the foreground classes, ``dice_to_given`` and ``dice_to_truth``, empty where there is nothing to compare with.

    Methods that move surfaces write ``offsets.csv`` next to it.

    Args:
        path: the CSV file.
        labels: of the run.
        cases: all training cases.
        classes: number of classes, background included.
        truth: true labels ``[*spatial]`` by case, where they are known; nothing else ever sees them.
        layers: those that hold labels; all by default.
    """

    def __init__(
        self,
        path: Path,
        labels: LabelStore,
        cases: Sequence[PreparedCase],
        classes: int,
        truth: Mapping[str, NDArray[np.uint8]],
        layers: Sequence[str] | None = None,
    ) -> None:
        self.layers = labels.layers if layers is None else layers
        self.path, self.labels, self.cases, self.classes, self.truth = path, labels, cases, classes, truth
        self._rows: list[dict[str, Any]] = []
        self._measured: dict[tuple[str, str, int], dict[str, Any]] = {}

    def update(self) -> None:
        """Adds the revisions that are new, and writes the table."""
        known = self._rows[-1]["revision"] + 1 if self._rows else 0
        for revision in range(known, self.labels.count + 1):
            self._rows += [self._row(case, layer, revision) for case in self.cases for layer in self.layers]
        if self._rows:
            with atomic_file(self.path) as file:
                pd.DataFrame(self._rows).to_csv(file, index=False)
        if offsets := [row for revision in range(1, self.labels.count + 1) for row in self._offsets(revision)]:
            with atomic_file(self.path.with_name("offsets.csv")) as file:
                pd.DataFrame(offsets).to_csv(file, index=False)

    def _offsets(self, revision: int) -> Iterator[dict[str, Any]]:
        """Rows of ``offsets.csv``: the offsets of the method, and the true ones where they are known."""
        record = self.labels.record(revision)
        by_name = {case.case.name: case for case in self.cases}
        for row in record.offsets:
            case, truth = by_name[str(row["case"])], self.truth.get(str(row["case"]))
            best = None if truth is None else _true_offset(case, truth, int(row["label"]))
            yield {"revision": revision, "step": record.step, **row, "true_mm": best}

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


def _true_offset(case: PreparedCase, truth: NDArray[np.uint8], cls: int) -> float:
    """The offset of the given label, in mm, after which it agrees best with the true one."""
    offsets = torch.arange(-_REACH, _REACH, min(case.spacing) / 4, dtype=torch.float64)
    distance = torch.from_numpy(signed_distance(case.given == cls, case.spacing))
    true = torch.tensor(truth == cls)[None].float()
    volume, both = (sums_below(distance, maps, offsets) for maps in (torch.ones_like(true), true))
    return float(best_offset(expected_dice(volume, both, true.flatten(1).sum(1)), offsets))
