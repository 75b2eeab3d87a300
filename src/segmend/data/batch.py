"""What one training step sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from segmend.data.case import Quality


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one step, all crops of the same size.

    Attributes:
        image: ``[B, channels, *spatial]`` float.
        label: ``[B, *spatial]`` int64 class indices, ``IGNORE`` where unknown: everywhere in unlabelled samples.
        quality: how far each label can be trusted.
        cases: name of each sample's case.
    """

    image: Tensor
    label: Tensor
    quality: tuple[Quality, ...]
    cases: tuple[str, ...]

    def rows(self, *qualities: Quality) -> list[int]:
        """Indices of the samples of these qualities."""
        return [row for row, quality in enumerate(self.quality) if quality in qualities]

    def to(self, device: torch.device, **options: Any) -> Self:
        """The same batch on another device."""
        return replace(self, image=self.image.to(device, **options), label=self.label.to(device, **options))

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory, from which copying to a GPU is faster."""
        return replace(self, image=self.image.pin_memory(), label=self.label.pin_memory())
