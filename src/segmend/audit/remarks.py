"""Remarks of an audit about all labels together, and about its own reliability."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from segmend.audit.annotators import SURE
from segmend.audit.rows import LabelRow
from segmend.audit.scores import CohortStatistics

_UNFAMILIAR = 0.6
"""Median expected Dice of a model's own outlines below which it cannot judge other labels."""


def remarks(rows: Sequence[LabelRow], usual: Mapping[str, CohortStatistics], unit: str) -> list[str]:
    """Write one remark for each class with low model confidence, and one if most labels have a boundary offset.

    Args:
        rows: all labels.
        usual: reference values of each class.
        unit: unit of distances, 'mm' or 'pixels'.
    """
    return [*_of_unfamiliar_classes(rows, usual), *_of_offsets(rows, unit)]


def _of_unfamiliar_classes(rows: Sequence[LabelRow], usual: Mapping[str, CohortStatistics]) -> Iterator[str]:
    seen = {row.label for row in rows if not math.isnan(row.correction_se_mm)}
    for label, of_class in usual.items():
        if of_class.best_dice < _UNFAMILIAR:
            told = " Boundary offsets need less, and are reported." if label in seen else ""
            yield (
                f"Low model confidence for '{label}': the median expected Dice of its own outlines is "
                f"{of_class.best_dice:.2f}. Train for longer (--iterations) before you rely on this audit for "
                f"this class.{told}"
            )


def _of_offsets(rows: Sequence[LabelRow], unit: str) -> Iterator[str]:
    """Where all labels have the same error, none is flagged."""
    noisy = [row for row in rows if not math.isnan(row.correction_mm)]
    off = [abs(row.correction_mm) for row in noisy if abs(row.correction_mm) > SURE * row.correction_se_mm]
    if len(off) > len(noisy) / 2:
        yield (
            f"{len(off)} of {len(noisy)} noisy labels seem to be over- or under-segmented, with a median offset of "
            f"{median(off):.1f} {unit}. Where nearly all labels are, none is flagged; 'segmend correct --offsets true' "
            "shifts the boundary of each by its own offset."
        )
