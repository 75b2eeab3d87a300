"""The input of one training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from segmend.core.case import Quality


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one step, all crops of the same size.

    Attributes:
        image: ``[B, channels, *spatial]`` float.
        label: ``[B, *spatial]`` int64 class indices, ``IGNORE`` where unknown: everywhere in unlabelled samples. For
            methods that take them, also sets of possible classes (``core.regions.ClassSets``).
        quality: how reliable each label is.
        cases: name of each sample's case.
        layers: labels as revised so far, by layer, in the form of ``label``; for methods that revise labels.
        maps: other arrays of the cases by name, ``[B, *spatial]`` int64; 0 in the padding of a scan smaller than the
            crop, as in ``image``; -1 where nothing is known: outside a warped scan, and in cases without the map.
        values: numbers of the cases, or of the slices that the samples are from, by name, ``[B]`` float32; NaN for
            cases without them.
        soft: probability of each class by soft labels, ``[B, C, *spatial]`` float32, summing to 1, or 0 in all classes
            where nothing is known: everywhere in unlabelled samples. None unless the training is on soft labels.
        annotators: who drew each sample's given label, "" if unknown; empty if all are unknown.
        place: where each sample lies in its scan, ``[B, axes of the scan, dimensions + 1]`` float32: a voxel at an
            offset v from the centre of the sample, in voxels, shows the point place[..., :-1] @ v + place[..., -1] of
            the scan, as a fraction 0..1 of it along each axis. None if unknown.
    """

    image: Tensor
    label: Tensor
    quality: tuple[Quality, ...]
    cases: tuple[str, ...]
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Tensor] = field(default_factory=dict)
    soft: Tensor | None = None
    annotators: tuple[str, ...] = ()
    place: Tensor | None = None

    @property
    def slice_positions(self) -> Tensor | None:
        """Where each sample's centre lies along the last axis of its scan, ``[B]`` in 0..1.

        None if it is unknown, and for 2D scans, which have no slices.
        """
        return None if self.place is None or self.place.shape[1] < 3 else self.place[:, -1, -1]

    @property
    def labelled(self) -> list[int]:
        """Indices of the samples with a label, expert or not."""
        return self.rows(Quality.EXPERT, Quality.NOISY)

    @property
    def unsupervised(self) -> list[int]:
        """Indices of the samples without an expert label, for methods that learn from no other labels."""
        return self.rows(Quality.NOISY, Quality.NONE)

    def rows(self, *qualities: Quality) -> list[int]:
        """Indices of the samples of these qualities."""
        return [row for row, quality in enumerate(self.quality) if quality in qualities]

    def to(self, device: torch.device, **options: Any) -> Self:
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, **options))

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory, from which copying to a GPU is faster."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        layers, maps, values = (
            {name: change(tensor) for name, tensor in kept.items()} for kept in (self.layers, self.maps, self.values)
        )
        return replace(
            self,
            image=change(self.image),
            label=change(self.label),
            layers=layers,
            maps=maps,
            values=values,
            soft=None if self.soft is None else change(self.soft),
            place=None if self.place is None else change(self.place),
        )


def samples(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    """Some samples of a tensor, the same as ``tensor[rows]`` gives.

    Consecutive ones are a view. A list of numbers would be copied to the accelerator, and the host would wait for all
    that was computed there before.

    Args:
        tensor: ``[B, ...]``.
        rows: numbers of the samples.

    Returns:
        ``[len(rows), ...]``, to be read only.
    """
    first = rows[0] if rows else 0
    if list(rows) == list(range(first, first + len(rows))):
        return tensor[first : first + len(rows)]
    return tensor[list(rows)]


@dataclass(frozen=True, slots=True)
class Composition:
    """How many samples of each quality a batch holds.

    Attributes:
        expert: samples with expert labels.
        noisy: samples with labels of unknown or low quality.
        unlabelled: samples of cases without a label.
        any_labelled: samples drawn uniformly from all labelled cases, expert or not.
    """

    expert: int = 0
    noisy: int = 0
    unlabelled: int = 0
    any_labelled: int = 0

    @property
    def size(self) -> int:
        """Samples in a batch."""
        return self.expert + self.noisy + self.unlabelled + self.any_labelled

    def __str__(self) -> str:
        parts = {
            "expert": self.expert,
            "noisy": self.noisy,
            "unlabelled": self.unlabelled,
            "labelled": self.any_labelled,
        }
        return " + ".join(f"{count} {name}" for name, count in parts.items() if count) or "nothing"
