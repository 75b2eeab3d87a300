"""Positions of voxels in the patient."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError

PLACE_TOLERANCE = 0.1
"""Largest displacement, in voxels, of two files that still count as on the same grid.

Programs round headers differently, rotations stored as quaternions most of all; a tenth of a voxel is
more than any of that and less than any misplacement that matters.
"""

_THICK_SLICES = 1.5
"""Factor by which the coarsest spacing of thick slices exceeds the second coarsest."""

_SHEAR_TOLERANCE = 0.01
"""Largest cosine between two axes that still counts as a right angle: 0.6 degrees, which rounding never reaches."""

_SPACING_LIMITS_MM = (1e-6, 1e4)
"""Spacings outside are mistakes of a header: electron microscopes resolve 1e-6 mm."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an array lie in the patient.

    Attributes:
        shape: voxels along x, y and, in 3D, z.
        affine: ``[4, 4]``, voxel index to RAS millimetres; a 2D image lies in the plane z = 0.
        assumptions: what was assumed or converted to read the affine from the file's header, as text.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    assumptions: tuple[str, ...] = ()

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres from voxel to voxel along each axis."""
        columns = np.linalg.norm(self.affine[:3, : self.dimensions], axis=0)
        return tuple(float(column) for column in columns)

    def matches(self, other: Grid) -> bool:
        """Whether both grids have the same shape and, within ``PLACE_TOLERANCE``, the same place."""
        return self.shape == other.shape and self.distance(other) <= PLACE_TOLERANCE * min(self.spacing)

    def distance(self, other: Grid) -> float:
        """Largest distance, in mm, between the positions of a voxel in both grids; their shapes must agree."""
        corners = np.array(list(itertools.product(*[(0, side) for side in self.shape])))
        difference = (self.affine - other.affine)[:3]
        apart = corners @ difference[:, : self.dimensions].T + difference[:, 3]
        return float(np.linalg.norm(apart, axis=1).max())


def thick_axis(spacing: Sequence[float]) -> int | None:
    """The axis across thick slices: the coarsest, if above 1.5 times the spacing of each other one; None in 2D."""
    coarsest = int(np.argmax(spacing))
    return coarsest if len(spacing) == 3 and spacing[coarsest] > _THICK_SLICES * sorted(spacing)[1] else None


def slice_axis(grid: Grid) -> int | None:
    """The axis across the slices in which people draw: across thick slices, or else along the patient; None in 2D."""
    if grid.dimensions == 2:
        return None
    thick = thick_axis(grid.spacing)
    if thick is not None:
        return thick
    towards = nibabel.orientations.io_orientation(grid.affine)
    return int(np.flatnonzero(towards[:, 0] == 2)[0])


def checked_grid(
    path: Path, shape: tuple[int, ...], affine: NDArray[np.float64], assumptions: tuple[str, ...] = ()
) -> Grid:
    """The grid of a file, if its header is valid.

    Raises:
        InputError: not two or three dimensions, or an affine that is not finite, singular or of impossible spacing.
    """
    if len(shape) not in (2, 3):
        raise InputError(
            path,
            f"has {len(shape)} dimensions {shape}",
            "split it into one 3D (or 2D) file per channel or time point",
            code="unsupported",
        )
    if min(shape) < 1 or not is_usable(affine):
        raise InputError(
            path, "has a header without a usable shape and affine", "export the file again", code="damaged"
        )
    if _is_sheared(affine):
        assumptions = (
            *assumptions,
            "has axes that are not at right angles, but distances in mm are measured as if they were",
        )
    grid = Grid(shape, affine, assumptions)
    if not (min(grid.spacing) >= _SPACING_LIMITS_MM[0] and max(grid.spacing) <= _SPACING_LIMITS_MM[1]):
        spacing = " x ".join(f"{side:.3g}" for side in grid.spacing)
        raise InputError(
            path,
            f"has a voxel spacing of {spacing} mm",
            "correct the spacing or its unit in the header",
            code="invalid-value",
        )
    return grid


def is_usable(affine: NDArray[np.float64]) -> bool:
    """Whether an affine is finite and not singular."""
    return bool(np.isfinite(affine).all()) and int(np.linalg.matrix_rank(affine[:3, :3])) == 3


def _is_sheared(affine: NDArray[np.float64]) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR_TOLERANCE)
