"""Dice losses of regions: unions of classes that may overlap.

Methods compute with classes that exclude each other, whatever the regions are. Only a Dice loss, which averages over
objects, has to know which objects count: a class such as "lung and heart, but no clavicle" may be a few voxels, and its
Dice would weigh as much as that of the lungs. As with automatic mixed precision, the caller says so around the method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_REGIONS: ContextVar[tuple[tuple[int, ...], ...]] = ContextVar("regions", default=())


@contextmanager
def dice_by_region(regions: Sequence[tuple[int, ...]]) -> Iterator[None]:
    """Within this block, Dice losses are of the background and of these regions, not of each class.

    Args:
        regions: class indices of each; none leaves the classes as they are.
    """
    token = _REGIONS.set(tuple(regions))
    try:
        yield
    finally:
        _REGIONS.reset(token)


def by_region(maps: Tensor) -> Tensor:
    """Maps of the background and of each region, from those of the classes.

    Args:
        maps: ``[B, C, *spatial]`` probabilities or one-hot labels.

    Returns:
        ``[B, 1 + regions, *spatial]``: a region is the sum of its classes. The maps themselves without regions.
    """
    regions = _REGIONS.get()
    if not regions:
        return maps
    return torch.stack([maps[:, 0], *(_union(maps, classes) for classes in regions)], 1)


def _union(maps: Tensor, classes: Sequence[int]) -> Tensor:
    # Views, not an index list: that would be copied to the accelerator in each step.
    union = maps[:, classes[0]]
    for index in classes[1:]:
        union = union + maps[:, index]
    return union
