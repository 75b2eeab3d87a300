"""Whether the scans of a plan are resampled, from their headers: only then do results depend on how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segmend.core.grid import Grid


def resamples(grids: Sequence[Grid], spacing: Any) -> bool:
    """Whether a training at a spacing may give a scan another number of voxels.

    Axes are compared in the order of their spacing, since which of them is across the slices depends on the data.

    Args:
        grids: of all scans.
        spacing: as ``train`` takes it: 'native', 'auto' or None (which is 'auto'), or numbers in mm.
    """
    if spacing == "native" or not grids:
        return False
    if spacing in ("auto", None):  # a median, or the spacing that a plan chooses: that of all scans, if they have one
        wanted = sorted(grids[0].spacing)
        return any(_changes(grid, wanted) for grid in grids)
    return any(_changes(grid, sorted(spacing)) for grid in grids)


def _changes(grid: Grid, wanted: Sequence[float]) -> bool:
    own = sorted(zip(grid.spacing, grid.shape, strict=True))
    # A spacing of two numbers is that within slices, which are never thinner than voxels are wide.
    return any(round(side * old / new) != side for (old, side), new in zip(own, wanted, strict=False))
