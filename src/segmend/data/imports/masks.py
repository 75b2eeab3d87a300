"""One label map from a mask a class: where masks overlap, the smaller structure wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.masks import Mask
from segmend.data.image import Grid, read_label


@dataclass(frozen=True)
class Combined:
    """A label map.

    Attributes:
        label: class indices ``[*spatial]``, 0 where no mask is.
        overlapping: voxels in more than one mask.
    """

    label: NDArray[np.uint8]
    overlapping: int


def combine(masks: Iterable[tuple[int, Mask]], grid: Grid) -> Combined:
    """Combine masks that are looked at one at a time.

    A voxel in several masks gets the class of the mask with the fewest voxels, of equally large ones the first: a
    vessel in an organ would vanish otherwise, while the organ loses little.

    Args:
        masks: class index, from 1, and mask ``[*spatial]`` of each class.
        grid: of the masks.
    """
    label = np.zeros(grid.shape, dtype=np.uint8)
    several = np.zeros(grid.shape, dtype=bool)
    sizes = np.full(256, np.iinfo(np.int64).max, dtype=np.int64)  # of the classes; background is larger than all
    for index, mask in masks:
        sizes[index] = np.count_nonzero(mask)
        before = label[mask]
        several[mask] |= before > 0
        label[mask] = np.where(sizes[before] > sizes[index], np.uint8(index), before)
    return Combined(label, int(np.count_nonzero(several)))


def read_mask(file: Path, grid: Grid) -> Mask:
    """A mask ``[*spatial]``, true where the file is not 0.

    Raises:
        InputError: the file is damaged, does not lie on the grid, or has more than one value but 0.
    """
    values, own = read_label(file)
    if not own.matches(grid):
        raise InputError(file, "does not lie on its scan", "get both again, or resample it", code="mismatch")
    mask: Mask = values != 0
    found = values[mask]
    if found.size and found.min() != found.max():
        problem = f"holds the values {found.min()} to {found.max()}, but a mask has 0 and one more"
        raise InputError(file, problem, "give a file for each class", code="invalid-value")
    return mask
