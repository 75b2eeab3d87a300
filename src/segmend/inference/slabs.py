"""Averaging the windows of a scan while only a slab of it is in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from segmend.inference.windows import Weighting, WindowGrid, outer


class Slab(NamedTuple):
    """Class probabilities of a part of a scan.

    Attributes:
        where: the part, one slice for each spatial axis.
        probabilities: ``[C, *spatial]`` float32 of this part, in 0..1.
    """

    where: tuple[slice, ...]
    probabilities: Tensor


class SlabSums:
    """Weighted sums of the windows' probabilities; a slab of the scan is released as soon as it is complete.

    The scan is cut across its long axis wherever windows start. A slab takes memory only from the first
    window that reaches it to the last, so fewer than patch + stride planes are alive, however long the scan is.

    Args:
        grid: the windows; they must be added in the order of ``grid.corners()``.
        weighting: how much each voxel of a window counts.
        classes: number of classes.
        device: where the sums are kept, unless they would take more than half of a GPU's free memory.

    Attributes:
        alive: start along the long axis and sums ``[C, *spatial]`` of the slabs that were begun.
    """

    def __init__(self, grid: WindowGrid, weighting: Weighting, classes: int, device: torch.device) -> None:
        self._grid, self._axis, self._classes = grid, grid.long_axis, classes
        starts, stride, side = grid.starts[self._axis], grid.stride[self._axis], grid.shape[self._axis]
        cuts = (*starts, *range(starts[-1] + stride, side, stride), side)
        self.alive: deque[tuple[int, Tensor]] = deque()
        self._ahead = deque(pairwise(cuts))
        planes = min(grid.patch[self._axis] + stride, side)
        self._device = _with_room(4 * classes * self._shape(planes).numel(), device)
        self._weight = grid.weight(weighting).to(self._device)
        self._weight_sums = [along_axis.to(self._device) for along_axis in grid.weight_sums(weighting)]

    def add(self, corner: tuple[int, ...], probabilities: Tensor) -> None:
        """Add the probabilities ``[C, *patch]`` of the window at ``corner``; first take the complete ones."""
        start, patch = corner[self._axis], self._grid.patch[self._axis]
        while self._ahead and self._ahead[0][0] < start + patch:
            first, end = self._ahead.popleft()
            self.alive.append((first, torch.zeros(self._classes, *self._shape(end - first), device=self._device)))
        probabilities = probabilities.to(self._device, torch.float32)
        window = list(self._grid.window(corner))
        for first, sums in self.alive:
            skipped = first - start
            planes = min(patch - skipped, sums.shape[self._axis + 1])
            window[self._axis] = slice(planes)
            sums[:, *window].addcmul_(
                probabilities.narrow(self._axis + 1, skipped, planes), self._weight.narrow(self._axis, skipped, planes)
            )

    def complete(self, start: int) -> Iterator[Slab]:
        """Return, averaged, the slabs that no window from ``start`` on along the long axis can touch."""
        while self.alive and self.alive[0][0] < start:
            first, sums = self.alive.popleft()
            where = [slice(0, side) for side in self._grid.shape]
            where[self._axis] = slice(first, first + sums.shape[self._axis + 1])
            weight_sums = outer([along[part] for along, part in zip(self._weight_sums, where, strict=True)])
            yield Slab(tuple(where), sums.div_(weight_sums))

    def _shape(self, planes: int) -> torch.Size:
        shape = list(self._grid.shape)
        shape[self._axis] = planes
        return torch.Size(shape)


def _with_room(needed: int, device: torch.device) -> torch.device:
    """The device, or the CPU where ``needed`` bytes are more than half of what is free on it."""
    if device.type != "cuda":
        return device
    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + reusable
    return device if needed <= free / 2 else torch.device("cpu")
