"""The rows of ``regions.csv``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segmend.audit.kinds import Kind
from segmend.audit.regions import Region
from segmend.data.image import Grid


@dataclass(frozen=True, slots=True)
class RegionRow:
    """A row of ``regions.csv``.

    Attributes:
        case: the case's name.
        region: value of its voxels in the map of issues.
        label: name of the class that it should get or lose.
        kind: kind of error.
        given: name of the class that it has.
        suggested: name of the class that it should have.
        voxels: its size.
        mm3: its size (2D: in mm^2).
        thickness_mm: at its thickest.
        score: confidence that the label is wrong here, 0..1, high if it is.
        box: first and last voxel index along each axis, ``first-last`` with blanks between the axes.
        centre_x_mm: its centre in the patient: to the right,
        centre_y_mm: to the front,
        centre_z_mm: to the head.
    """

    case: str
    region: int
    label: str
    kind: Kind
    given: str
    suggested: str
    voxels: int
    mm3: float
    thickness_mm: float
    score: float
    box: str
    centre_x_mm: float
    centre_y_mm: float
    centre_z_mm: float


def region_rows(case: str, names: Sequence[str], regions: Sequence[Region], grid: Grid) -> list[RegionRow]:
    """The rows of a case."""
    rows = []
    for number, region in enumerate(regions, start=2):
        index = np.zeros(3)
        index[: grid.dimensions] = region.centre
        x, y, z = (grid.affine[:3, :3] @ index + grid.affine[:3, 3]).tolist()
        rows.append(
            RegionRow(
                case=case,
                region=number,
                label=names[region.label],
                kind=region.kind,
                given=names[region.given],
                suggested=names[region.suggested],
                voxels=region.voxels,
                mm3=region.voxels * math.prod(grid.spacing),
                thickness_mm=region.thickness,
                score=region.score,
                box=" ".join(f"{side.start}-{side.stop - 1}" for side in region.box),
                centre_x_mm=x,
                centre_y_mm=y,
                centre_z_mm=z,
            )
        )
    return rows
