"""What a data set is made of: cases, their files, and how far each label can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Quality(StrEnum):
    """How far a label can be trusted."""

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
        quality: how far the label can be trusted; ``NONE`` exactly if there is no label to be shown.
        domain: scanner, centre or the like; "" if not told.
        annotator: who drew the label; "" if not told.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None
    split: Split = Split.TRAIN
    quality: Quality = Quality.NOISY
    domain: str = ""
    annotator: str = ""

    @property
    def shown_label(self) -> Path | None:
        """The label file, unless the table hides it."""
        return None if self.quality is Quality.NONE else self.label
