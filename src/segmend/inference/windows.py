"""Positions of the windows over a scan, and the weight of each voxel of a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import itemgetter
from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["uniform", "gaussian"]
"""Whether all voxels of a window have the same weight, or more weight the closer they are to its centre."""


def window_starts(side: int, patch: int, stride: int) -> tuple[int, ...]:
    """Starts of the windows along one axis: every ``stride`` voxels, the last one flush with the end.

    Args:
        side: voxels of the scan, at least ``patch``.
        patch: voxels of a window.
        stride: voxels from window to window.
    """
    last = side - patch
    return *range(0, last, stride), last


@dataclass(frozen=True)
class WindowGrid:
    """Windows of one size that together cover a scan.

    Attributes:
        shape: sides of the scan, none shorter than the window's.
        patch: sides of a window.
        stride: voxels from window to window along each axis; above ``patch`` it would leave voxels out.
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def starts(self) -> tuple[tuple[int, ...], ...]:
        """Along each axis, where windows start, ascending."""
        return tuple(map(window_starts, self.shape, self.patch, self.stride))

    @property
    def long_axis(self) -> int:
        """The axis along which the scan is the longest in windows."""
        return max(range(len(self.shape)), key=lambda axis: self.shape[axis] / self.patch[axis])

    def corners(self) -> list[tuple[int, ...]]:
        """First voxel of every window, in ascending order along the long axis."""
        return sorted(product(*self.starts), key=itemgetter(self.long_axis))

    def window(self, corner: tuple[int, ...]) -> tuple[slice, ...]:
        """The voxels of the window at ``corner``."""
        return tuple(slice(start, start + side) for start, side in zip(corner, self.patch, strict=True))

    def weight(self, weighting: Weighting) -> Tensor:
        """How much each voxel of a window counts, ``[*patch]``, in 0..1."""
        return outer([_profile(side, weighting) for side in self.patch])

    def weight_sums(self, weighting: Weighting) -> list[Tensor]:
        """Their sums over all windows: the outer product of one ``[side]`` for each axis.

        A product suffices since both the windows and their weight are products of one-dimensional ones.
        """
        sums = []
        for side, patch, starts in zip(self.shape, self.patch, self.starts, strict=True):
            profile, along_axis = _profile(patch, weighting), torch.zeros(side)
            for start in starts:
                along_axis[start : start + patch] += profile
            sums.append(along_axis)
        return sums


def outer(profiles: Sequence[Tensor]) -> Tensor:
    """Outer product of vectors ``[n1], [n2]...``: ``[n1, n2, ...]``."""
    return reduce(lambda product, profile: product[..., None] * profile, profiles)


def _profile(patch: int, weighting: Weighting) -> Tensor:
    """Weight along one axis of a window; the Gaussian has its centre at 1 and a sigma of an eighth of the window."""
    if weighting == "uniform":
        return torch.ones(patch)
    # At 4 sigma the window ends: exp(-8) along each of three axes is far from underflow, no floor is needed.
    from_centre = torch.arange(patch) - (patch - 1) / 2
    return torch.exp(-0.5 * (from_centre / (patch / 8)) ** 2)
