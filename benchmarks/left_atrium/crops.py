"""Crops of noisy training cases around their objects, with given and true labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segmend.core.case import Quality, Split
from segmend.data.cache import default_cache, prepare
from segmend.data.folder import DataFolder
from segmend.engine.run import Run


@dataclass(frozen=True)
class Crop:
    """Around the object of one noisy training case: image ``[1, channels, *patch]``, labels ``[1, *patch]``."""

    name: str
    image: Tensor
    label: Tensor
    truth: Tensor


def noisy_cases(run: Run, data: Path) -> Iterator[Crop]:
    """One crop of each, of a run and its data folder with ``labelsTr_clean``."""
    folder = DataFolder.open(data)
    noisy = folder.select(Split.TRAIN, Quality.NOISY)
    true = [replace(case, label=folder.root / "labelsTr_clean" / f"{case.name}{folder.file_ending}") for case in noisy]
    prepared = [prepare(folder, cases, run.task.preprocessing, default_cache()) for cases in (noisy, true)]
    for given, correct in zip(*prepared, strict=True):
        assert given.label is not None
        assert correct.label is not None
        # As much of the patch as the scan has without padding, in steps that the network can halve four times.
        sides = [min(p, side // 16 * 16) for p, side in zip(run.task.patch, correct.label.shape, strict=True)]
        centre = np.argwhere(correct.label > 0).mean(0).astype(int)
        room = [total - side for total, side in zip(correct.label.shape, sides, strict=True)]
        start = [min(max(c - side // 2, 0), free) for c, side, free in zip(centre, sides, room, strict=True)]
        where = tuple(slice(first, first + side) for first, side in zip(start, sides, strict=True))
        yield Crop(
            given.case.name,
            torch.tensor(given.image[(slice(None), *where)])[None],
            torch.tensor(given.label[where])[None].long(),
            torch.tensor(correct.label[where])[None].long(),
        )
