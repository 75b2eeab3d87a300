"""A probabilistic atlas: how often each class is at each place of a scan."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segmend.core.masks import IGNORE
from segmend.functional.intensity import blur

_SPREAD = 1.0
"""Standard deviation of the smoothing, in cells."""


class Atlas(nn.Module):
    """Counts the classes of expert labels in the cells of a grid that spans every scan.

    Places are relative to the scan, so scans need to be aligned no better than that. Counts are whole numbers, and
    therefore the same whatever the order.

    Args:
        classes: C.
        cells: of the grid along each of three axes.
    """

    counts: Tensor

    def __init__(self, classes: int, cells: int = 16) -> None:
        super().__init__()
        self.classes, self.cells = classes, cells
        self.register_buffer("counts", torch.zeros(cells**3, classes, dtype=torch.long))

    def add(self, label: Tensor, place: Tensor | None) -> None:
        """Count the voxels of some samples.

        Args:
            label: ``[B, *spatial]`` class indices; ``IGNORE`` is not counted.
            place: as in ``Batch``; None takes each sample for a whole scan.
        """
        known = label != IGNORE
        last = self.counts.numel()
        keys = (self._cells_of(label, place) * self.classes + label).where(known, last).flatten()
        found = self.counts.new_zeros(last + 1).index_add_(0, keys, torch.ones_like(keys))
        self.counts += found[:last].view_as(self.counts)

    def prior(self, label: Tensor, place: Tensor | None) -> Tensor:
        """How frequent the labelled class is at the place of each voxel.

        Args:
            label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.
            place: as for ``add``.

        Returns:
            ``[B, *spatial]`` float32, in 0..1; 1 / C where nothing has been counted.
        """
        known = label != IGNORE
        return self.probabilities()[self._cells_of(label, place), label.where(known, 0)] * known

    def probabilities(self) -> Tensor:
        """Smoothed frequencies ``[cells^3, C]`` of the classes; they sum to 1."""
        grid = self.counts.T.view(1, self.classes, *[self.cells] * 3).float()
        smooth = blur(grid, torch.full((1, self.classes), _SPREAD), range(3)).view(self.classes, -1).T
        # One more voxel of each class: where nothing was counted, all are equally frequent.
        return (smooth + 1) / (smooth.sum(1, keepdim=True) + self.classes)

    def _cells_of(self, label: Tensor, place: Tensor | None) -> Tensor:
        """Number of the cell of each voxel, ``[B, *spatial]``; a missing axis is in the middle of the grid."""
        sides = label.shape[1:]
        if place is None:
            steps = torch.diag(1 / torch.tensor(sides, dtype=torch.float32))
            place = torch.cat([steps, torch.full((len(sides), 1), 0.5)], 1).to(label.device)
            place = place.expand(len(label), *place.shape)
        number = torch.zeros_like(label)
        for axis in range(3):
            along = torch.full(label.shape, 0.5, device=label.device)
            if axis < place.shape[1]:
                along = place[:, axis, -1].view(-1, *[1] * len(sides)).expand(label.shape)
                for moved, side in enumerate(sides):
                    offset = torch.arange(side, device=label.device) - (side - 1) / 2
                    step = place[:, axis, moved].view(-1, *[1] * len(sides))
                    along = along + step * offset.view(-1, *[1] * (len(sides) - moved - 1))
            number = number * self.cells + (along * self.cells).long().clamp(0, self.cells - 1)
        return number
