"""Random crops of prepared cases, composed into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from segmend.core.batch import Batch
from segmend.core.masks import IGNORE
from segmend.core.regions import ClassSets
from segmend.data.augment import Augmentation
from segmend.data.cache import PreparedCase
from segmend.data.compressed import VoxelArray
from segmend.data.sampling import BatchPlan
from segmend.engine.label_store import LabelStore
from segmend.functional.soft_labels import renormalised

ForegroundBy = Literal["voxel", "class"]
"""Whether a crop is centred on any foreground voxel of a label, or on one of a class that is drawn first."""


@dataclass(frozen=True)
class CropBatches(Dataset[Batch]):
    """Item ``step`` is the whole batch of that step: a function of seed, step and process alone.

    Attributes:
        cases: prepared training cases.
        plan: which of them make up each batch.
        patch: sides of a crop; one fewer than the cases' sides for 2D crops of volumes, taken across the last axis.
        augmentation: random geometry and intensity.
        foreground: fraction of the labelled samples whose crop is centred, where the scan allows it, on a
            foreground voxel of the label; the positions of the others are uniformly distributed.
        rank: number of this process.
        processes: how many processes share the batches.
        labels: of methods that revise labels; batches then carry all layers, maps and values as the step sees them.
        foreground_by: how the foreground voxel is drawn: any that is known of the label, or first a class that the
            label holds, so that all its classes are equally frequent, and then a voxel of it.
        sets: of possible classes, which stand in the labels of cases that are annotated in part.
    """

    cases: Sequence[PreparedCase]
    plan: BatchPlan
    patch: tuple[int, ...]
    augmentation: Augmentation = field(default_factory=Augmentation)
    foreground: float = 0.0
    rank: int = 0
    processes: int = 1
    labels: LabelStore | None = None
    foreground_by: ForegroundBy = "voxel"
    sets: ClassSets = field(default_factory=ClassSets)

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, on the CPU; labels that another process is about to rewrite are waited for."""
        rng = np.random.default_rng((self.plan.seed, step, self.rank, 1))
        revision = self._revision(step)
        positions = self.plan.cases_at(step, self.rank, self.processes, self._weights(revision))
        chosen = [self.cases[position] for position in positions]
        crops = [_Crop(case, self._start(case, rng), self.patch) for case in chosen]
        image = torch.from_numpy(np.stack([crop.of_image() for crop in crops]))
        label = _stacked([self.sets.encode(crop.of_label(crop.case.given), crop.case.case.annotated) for crop in crops])
        warp = self.augmentation.draw(rng, len(crops), self.patch)
        image, label = self.augmentation.apply(image, label, warp, rng)
        soft = self._soft(crops)
        return Batch(
            image=image,
            label=label,
            quality=tuple(case.case.quality for case in chosen),
            cases=tuple(case.case.name for case in chosen),
            layers={
                name: warp(layer, mode="nearest", fill=IGNORE) for name, layer in self._layers(crops, revision).items()
            },
            maps={name: warp(each, mode="nearest", fill=-1) for name, each in self._maps(crops, revision).items()},
            values=self._values(crops, revision),
            soft=None if soft is None else renormalised(warp(soft)),
            annotators=tuple(case.case.annotator for case in chosen),
            place=_places(crops, warp.matrix()),
        )

    def _revision(self, step: int) -> int:
        """Number of the revision of the labels that a step sees, once it is there."""
        if self.labels is None:
            return 0
        revision = self.labels.due(step)
        self.labels.wait_for(revision)
        return revision

    def _weights(self, revision: int) -> list[float] | None:
        """Sampling weight of each case; None if all are sampled uniformly."""
        known = self.labels.sampling_weights(revision) if self.labels else {}
        return [known.get(case.case.name, 1.0) for case in self.cases] if known else None

    def _layers(self, crops: Sequence[_Crop], revision: int) -> dict[str, Tensor]:
        if self.labels is None:
            return {}
        return {
            layer: _stacked([crop.of_label(self.labels.label(crop.name, layer, revision)) for crop in crops])
            for layer in self.labels.layers
        }

    def _soft(self, crops: Sequence[_Crop]) -> Tensor | None:
        """Soft labels ``[B, C, *patch]``, 0 in samples without one; None if no training case has one."""
        classes = next((case.soft.shape[0] for case in self.cases if case.soft is not None), None)
        return None if classes is None else torch.from_numpy(np.stack([crop.of_soft(classes) for crop in crops]))

    def _maps(self, crops: Sequence[_Crop], revision: int) -> dict[str, Tensor]:
        if self.labels is None:
            return {}
        return {
            name: _stacked([crop.of_map(self.labels.map(crop.name, name, revision)) for crop in crops])
            for name in self.labels.maps
        }

    def _values(self, crops: Sequence[_Crop], revision: int) -> dict[str, Tensor]:
        if self.labels is None:
            return {}
        return {
            name: torch.tensor([crop.of_values(self.labels.value(crop.name, name, revision)) for crop in crops])
            for name in self.labels.values
        }

    def _start(self, case: PreparedCase, rng: np.random.Generator) -> list[int]:
        sides = case.image.shape[1:]
        patch = (*self.patch, 1)[: len(sides)]
        room = [max(side - wanted, 0) for side, wanted in zip(sides, patch, strict=True)]
        anywhere = [int(rng.integers(0, free + 1)) for free in room]
        centred, voxel = rng.random() < self.foreground, rng.random()
        # Drawn whether or not it is used, so that no label influences the crops of other cases.
        chosen = rng.random() if self.foreground_by == "class" else 0.0
        if not centred or case.foreground is None or not len(case.foreground):
            return anywhere
        voxels = case.foreground
        if self.foreground_by == "class":
            classes = case.foreground_by_class
            voxels = classes[int(chosen * len(classes))]
        centre = voxels[int(voxel * len(voxels))]
        return [int(np.clip(at - wanted // 2, 0, free)) for at, wanted, free in zip(centre, patch, room, strict=True)]


@dataclass(frozen=True)
class _Crop:
    """A place in a case: first voxel along each axis, and the sides of the patch."""

    case: PreparedCase
    start: Sequence[int]
    patch: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the case."""
        return self.case.case.name

    @property
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The scan's point at the centre of the crop, as a fraction of its sides, and the sides in voxels."""
        sides = np.array(self.case.image.shape[1:])
        patch = np.array((*self.patch, 1)[: len(sides)])
        first = np.array(self.start) - np.maximum(patch - sides, 0) // 2
        return (first + patch / 2) / sides, sides

    def of_image(self) -> NDArray[np.float32]:
        """``[channels, *patch]``; 0 beyond the scan."""
        return self._cut(self.case.image, fill=0, channels=True)

    def of_label(self, label: VoxelArray) -> NDArray[np.uint8]:
        """``[*patch]`` of any label of the case; background beyond the scan, unless the case is unlabelled."""
        return self._cut(label, fill=IGNORE if self.case.label is None else 0)

    def of_soft(self, classes: int) -> NDArray[np.float32]:
        """``[classes, *patch]`` of the soft label; background beyond the scan, and 0 if the case has none."""
        if self.case.soft is None:
            return np.zeros((classes, *self.patch), np.float32)
        crop = self._cut(self.case.soft, fill=0, channels=True).astype(np.float32)
        beyond = self._cut(np.broadcast_to(np.uint8(0), self.case.soft.shape[1:]), fill=1)
        crop[0] += beyond
        return crop

    def of_map(self, numbers: VoxelArray) -> NDArray[Any]:
        """``[*patch]`` of any map of the case; 0 beyond the scan."""
        return self._cut(numbers, fill=0)

    def of_values(self, values: Sequence[float]) -> float:
        """The one value of the case, or that of the slice that the crop is from."""
        return values[self.start[-1] if len(values) > 1 else 0]

    def _cut(self, array: VoxelArray, fill: int, *, channels: bool = False) -> NDArray[Any]:
        """A crop of ``[*spatial]``, or ``[channels, *spatial]``; padded on both sides where the array is smaller."""
        patch = (*self.patch, 1)[: array.ndim - channels]
        inside = tuple(slice(first, first + wanted) for first, wanted in zip(self.start, patch, strict=True))
        crop = array[(slice(None), *inside) if channels else inside]
        missing = [wanted - side for wanted, side in zip(patch, crop.shape[channels:], strict=True)]
        if any(missing):
            gaps = [(gap // 2, gap - gap // 2) for gap in missing]
            crop = np.pad(crop, [(0, 0), *gaps] if channels else gaps, constant_values=fill)
        return crop.reshape(*crop.shape[:channels], *self.patch)


class StepSampler(Sampler[int]):
    """Yields the steps that are still to be done.

    Its length stays that of the whole run, since the trainer counts the steps of a resumed run from 0 too.

    Args:
        total: steps of the run.
        done: steps that were done before.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.done = total, done

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.done, self.total))

    def __len__(self) -> int:
        return self.total


def _places(crops: Sequence[_Crop], matrix: Tensor) -> Tensor:
    """``Batch.place`` of crops that are then warped by a matrix ``[B, dimensions, dimensions]``."""
    centres, sides = (torch.from_numpy(np.stack(each)) for each in zip(*(crop.extent for crop in crops), strict=True))
    # The axis across 2D crops is the same point for all of their voxels.
    across = matrix.new_zeros(len(matrix), sides.shape[1] - matrix.shape[1], matrix.shape[2])
    steps = torch.cat([matrix, across], 1) / sides.unsqueeze(2)
    return torch.cat([steps, centres.unsqueeze(2)], 2).float()


def _stacked(arrays: Sequence[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).long()
