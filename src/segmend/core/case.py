"""The parts of a data set: cases, their files, and the quality of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Quality(StrEnum):
    """How reliable a label is."""

    EXPERT = "expert"
    NOISY = "noisy"
    NONE = "none"


class Split(StrEnum):
    """What a case may be used for."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Case:
    """One scan, or one 2D image, with at most one label.

    Attributes:
        name: unique in its data folder.
        images: one file per channel, in the order of ``channel_names``.
        label: the label file, or None.
        split: what the case may be used for.
        quality: how reliable the label is; ``NONE`` exactly if there is no visible label.
        domain: scanner, centre or the like; "" if unknown.
        annotator: who drew the label; "" if unknown.
        annotated: names of the classes or regions that were annotated; None for all. Of the others, nothing is known.
        soft: files of the probability of each class, background first; empty unless soft labels are asked for.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None
    split: Split = Split.TRAIN
    quality: Quality = Quality.NOISY
    domain: str = ""
    annotator: str = ""
    annotated: tuple[str, ...] | None = None
    soft: tuple[Path, ...] = ()

    @property
    def training_label(self) -> Path | None:
        """The label file, unless the table hides it."""
        return None if self.quality is Quality.NONE else self.label


def cases_in_words(names: Sequence[str]) -> str:
    """Some cases by name, for a message: "case a", or "cases a, b, c and 2 more"."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"case{'s' if len(names) > 1 else ''} {', '.join(names[:3])}{more}"
