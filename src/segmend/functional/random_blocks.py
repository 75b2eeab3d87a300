"""Blocks of an image, drawn at random from a grid. Draws from torch's global generator."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch


def random_blocks(size: Sequence[int], side: int, counts: Sequence[int]) -> list[tuple[slice, ...]]:
    """Divide an image into blocks that do not overlap, and draw some of them.

    Positions are drawn along each axis without replacement, and all their combinations are taken (LG-ER-MT).

    Args:
        size: voxels of the image along each axis.
        side: voxels of a block along each axis; an axis with fewer has blocks of its own length. What remains at the
            end of an axis belongs to no block.
        counts: positions along each axis, from the first; all are taken if there are fewer.

    Returns:
        Indices into ``[*size]``, one tuple for each block: the product of the counts.
    """
    along = []
    for length, count in zip(size, counts, strict=False):
        own = min(side, length)
        starts = torch.randperm(length // own)[:count] * own
        along.append([slice(start, start + own) for start in starts.tolist()])
    return list(product(*along))
