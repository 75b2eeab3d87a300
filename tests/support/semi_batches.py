"""Batches of expert, noisy and unlabelled samples, for methods that learn from the images of the latter two."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE


def batch_of(image: Tensor, label: Tensor, *quality: Quality) -> Batch:
    """These images and labels; labels of samples that have none become ``IGNORE``."""
    label = label.clone()
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is Quality.NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def random_batch(*quality: Quality, channels: int = 1, classes: int = 2, grid: tuple[int, ...] = (16, 16)) -> Batch:
    """Noise as images and labels, the same in each call."""
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), channels, *grid, generator=random)
    return batch_of(image, torch.randint(0, classes, (len(quality), *grid), generator=random), *quality)


def logits_of(probabilities: list[list[float]]) -> Tensor:
    """The image ``[1, C, voxels]`` whose softmax these are; one list for each class."""
    return torch.tensor(probabilities).log().unsqueeze(0)
