"""What an audit has to say of all labels together, and of itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from segmend.audit.annotators import SURE
from segmend.audit.rows import LabelRow
from segmend.audit.scores import Usual

_UNFAMILIAR = 0.6
"""Dice of a model's outlines, by its own account, below which it is no judge of others'."""


def remarks(rows: Sequence[LabelRow], usual: Mapping[str, Usual], unit: str) -> list[str]:
    """In words, one each: classes of which the model knows little, and whether most labels are off by an offset.

    Args:
        rows: all labels.
        usual: what is usual for each class.
        unit: of distances, 'mm' or 'pixels'.
    """
    return [*_of_unfamiliar_classes(rows, usual), *_of_offsets(rows, unit)]


def _of_unfamiliar_classes(rows: Sequence[LabelRow], usual: Mapping[str, Usual]) -> Iterator[str]:
    seen = {row.label for row in rows if not math.isnan(row.undo_se_mm)}
    for label, of_class in usual.items():
        if of_class.best_dice < _UNFAMILIAR:
            told = " How far each outline is to be moved back takes less, and is told." if label in seen else ""
            yield (
                f"Of '{label}' the model knows little: it expects a Dice of {of_class.best_dice:.2f} of its own "
                "outlines, as a rule. Train it for longer (--iterations) before you trust what this audit says of "
                f"that class.{told}"
            )


def _of_offsets(rows: Sequence[LabelRow], unit: str) -> Iterator[str]:
    """Where all are wrong alike, none stands out."""
    noisy = [row for row in rows if not math.isnan(row.undo_mm)]
    off = [abs(row.undo_mm) for row in noisy if abs(row.undo_mm) > SURE * row.undo_se_mm]
    if len(off) > len(noisy) / 2:
        yield (
            f"{len(off)} of {len(noisy)} noisy labels seem to be drawn too wide or too tight, by {median(off):.1f} "
            f"{unit} as a rule. Where nearly all are, none stands out; 'segmend correct --offsets true' moves each "
            "back by its own offset."
        )
