"""Random crops of prepared cases, composed into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from segmend.data.augment import Augmentation
from segmend.data.batch import Batch
from segmend.data.cache import PreparedCase
from segmend.data.sampling import BatchPlan
from segmend.functional.voxel import IGNORE


@dataclass(frozen=True)
class CropBatches(Dataset[Batch]):
    """Item ``step`` is the whole batch of that step: a function of seed, step and process alone.

    Attributes:
        cases: prepared training cases.
        plan: which of them make up each batch.
        patch: sides of a crop; one fewer than the cases' sides for 2D crops of volumes, taken across the last axis.
        augmentation: random geometry and intensity.
        foreground: share of the labelled samples whose crop is centred, as far as the scan allows, on a
            foreground voxel of the label; the others lie anywhere with equal chance.
        rank: number of this process.
        processes: how many processes share the batches.
    """

    cases: Sequence[PreparedCase]
    plan: BatchPlan
    patch: tuple[int, ...]
    augmentation: Augmentation = field(default_factory=Augmentation)
    foreground: float = 0.0
    rank: int = 0
    processes: int = 1

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, on the CPU."""
        rng = np.random.default_rng((self.plan.seed, step, self.rank, 1))
        chosen = [self.cases[position] for position in self.plan.cases_at(step, self.rank, self.processes)]
        crops = [self._crop(case, rng) for case in chosen]
        image = torch.from_numpy(np.stack([image for image, _ in crops]))
        label = torch.from_numpy(np.stack([label for _, label in crops])).long()
        warp = self.augmentation.draw(rng, len(crops), self.patch)
        image, label = self.augmentation.apply(image, label, warp, rng)
        return Batch(
            image=image,
            label=label,
            quality=tuple(case.case.quality for case in chosen),
            cases=tuple(case.case.name for case in chosen),
        )

    def _crop(self, case: PreparedCase, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        sides = case.image.shape[1:]
        patch = (*self.patch, 1)[: len(sides)]
        start = self._start(case, sides, patch, rng)
        image = _cut(case.image, start, patch, fill=0)
        if case.label is None:
            label = np.full(patch, IGNORE, dtype=np.uint8)
        else:
            label = _cut(case.label[None], start, patch, fill=0)[0]
        flat = len(self.patch)
        return image.reshape(*image.shape[: flat + 1]), label.reshape(label.shape[:flat])

    def _start(
        self, case: PreparedCase, sides: Sequence[int], patch: Sequence[int], rng: np.random.Generator
    ) -> list[int]:
        room = [max(side - wanted, 0) for side, wanted in zip(sides, patch, strict=True)]
        anywhere = [int(rng.integers(0, free + 1)) for free in room]
        centred, voxel = rng.random() < self.foreground, rng.random()
        if not centred or case.foreground is None or not len(case.foreground):
            return anywhere
        centre = case.foreground[int(voxel * len(case.foreground))]
        return [int(np.clip(at - wanted // 2, 0, free)) for at, wanted, free in zip(centre, patch, room, strict=True)]


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


def _cut(array: NDArray[Any], start: Sequence[int], patch: Sequence[int], fill: float) -> NDArray[Any]:
    """A crop of ``[channels, *spatial]``; an array smaller than the patch is padded on both sides."""
    inside = tuple(slice(first, first + wanted) for first, wanted in zip(start, patch, strict=True))
    crop = array[(slice(None), *inside)]
    missing = [wanted - side for wanted, side in zip(patch, crop.shape[1:], strict=True)]
    if any(missing):
        crop = np.pad(crop, [(0, 0), *[(gap // 2, gap - gap // 2) for gap in missing]], constant_values=fill)
    return crop
