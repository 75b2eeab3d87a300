"""Connected regions in which a label is wrong beyond normal boundary variability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmend.audit.distance import distances_to
from segmend.audit.examination import Examination, Part
from segmend.audit.kinds import Drawn, Kind
from segmend.core.masks import Mask
from segmend.functional.morphology import signed_distance

MOST = 200
"""Largest number of regions kept for a case; a label with more of them cannot be corrected anyway."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Where a label is wrong.

    Attributes:
        label: class that the region should get or lose; of two classes swapped, the one it should get.
        given: class that it has.
        suggested: class that it should have.
        kind: kind of error.
        box: smallest box around it in the scan.
        mask: its voxels within the box.
        thickness: in mm, at its thickest.
        score: confidence that the label is wrong here, 0..1.
    """

    label: int
    given: int
    suggested: int
    kind: Kind
    box: tuple[slice, ...]
    mask: Mask
    thickness: float
    score: float

    @property
    def voxels(self) -> int:
        """Its size."""
        return int(np.count_nonzero(self.mask))

    @property
    def weight(self) -> float:
        """Its importance: its size weighted by its score."""
        return self.score * self.voxels

    @property
    def centre(self) -> NDArray[np.float64]:
        """Voxel indices of its centre of mass, which need not lie in it."""
        corner = np.array([side.start for side in self.box])
        return corner + [float(places.mean()) for places in np.nonzero(self.mask)]


def find_regions(
    examination: Examination, spacing: Sequence[float], tolerances: Mapping[int, float], slice_axis: int | None
) -> list[Region]:
    """The regions of all classes, the most important first, at most ``MOST``.

    A region grows from issues that lie deeper than the tolerance below both the given and the predicted surface,
    over the voxels that differ within twice the tolerance around them. So it ends where the two surfaces meet, or
    where they are no further apart than usual.

    Args:
        examination: a label with its evidence.
        spacing: mm from voxel to voxel along each axis.
        tolerances: of each class in mm.
        slice_axis: axis across the slices that people draw in; None in 2D.
    """
    regions = [
        region
        for part in examination.parts()
        if part.doubted.any()
        for region in _regions_of(examination, part, spacing, tolerances[part.index], slice_axis)
    ]
    return sorted(regions, key=lambda region: -region.weight)[:MOST]


def issue_map(examination: Examination, regions: Sequence[Region]) -> NDArray[np.uint8]:
    """The issues of a case ``[*spatial]``: 1 where a voxel is flagged, n + 2 in region n of the list."""
    issues = examination.issues.astype(np.uint8)
    for number, region in enumerate(regions):
        issues[region.box][region.mask] = number + 2
    return issues


def _regions_of(
    examination: Examination, part: Part, spacing: Sequence[float], tolerance: float, slice_axis: int | None
) -> Iterator[Region]:
    label, predicted = examination.label[part.box], examination.predicted[part.box]
    lacking, lost = part.predicted & ~part.given, part.given & (predicted == 0)
    to_given, to_predicted = distances_to(part.given, part.predicted, spacing)
    depth = np.minimum(np.abs(to_given), np.abs(to_predicted))
    core = part.doubted & (lacking | lost) & (depth > tolerance)
    if not core.any():
        return
    near = (lacking | lost) & (signed_distance(core, spacing) <= 2 * tolerance)
    drawn = Drawn(part.given, spacing, slice_axis)
    for given in np.unique(label[core]):
        pieces, _ = ndimage.label(near & (label == given))
        boxes = ndimage.find_objects(pieces)
        for number in np.unique(pieces[core & (label == given)]):
            box = boxes[number - 1]
            mask = pieces[box] == number
            thickness = 2 * float(depth[box][mask].max())
            certainty = float(examination.highest[part.box][box][mask].mean())
            yield Region(
                label=part.index,
                given=int(given),
                suggested=part.index if given != part.index else 0,
                kind=_kind(drawn, pieces == number, thickness, int(given), part.index),
                box=tuple(_shifted(inner, outer.start) for inner, outer in zip(box, part.box, strict=True)),
                mask=mask,
                thickness=thickness,
                score=certainty * thickness / (thickness + tolerance),
            )


def _kind(drawn: Drawn, region: Mask, thickness: float, given: int, label: int) -> Kind:
    if given == label:
        return drawn.kind_of_extra(region, thickness)
    return drawn.kind_of_swap(region, thickness) if given else drawn.kind_of_missing(region, thickness)


def _shifted(side: slice, by: int) -> slice:
    return slice(side.start + by, side.stop + by)
