"""Connected regions in which a label is wrong beyond normal boundary variability, and the kind of error of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmend.audit.examination import Examination, Part
from segmend.core.masks import Mask, bounding_box
from segmend.functional.morphology import signed_distance

MOST = 200
"""Largest number of regions kept for a case; a label with more of them cannot be corrected anyway."""
_WHOLE_FRACTION = 0.8
"""Fraction of an object, or of a region, that counts as all of it."""
_SURROUNDING_FRACTION = 0.5
"""Fraction of a surface, or of one side of a layer, that makes it a layer."""
_LAYER_THICKNESS_RATIO = 0.2
"""Thickness of a layer relative to its width."""


class ErrorKind(StrEnum):
    """Kind of error of a label, or of a region of it."""

    OK = "ok"
    MISSING = "missing"
    EXTRA = "extra"
    UNDER_SEGMENTED = "under_segmented"
    OVER_SEGMENTED = "over_segmented"
    SWAP = "swap"
    OBJECT_MISSING = "object_missing"
    OBJECT_EXTRA = "object_extra"
    SLICES = "slices"

    @property
    def of_boundary(self) -> bool:
        """Whether it is an under- or over-segmented boundary."""
        return self in (ErrorKind.UNDER_SEGMENTED, ErrorKind.OVER_SEGMENTED)


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
    kind: ErrorKind
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
        if part.flagged.any()
        for region in _regions_of(examination, part, spacing, tolerances[part.index], slice_axis)
    ]
    return sorted(regions, key=lambda region: -region.weight)[:MOST]


def issue_map(examination: Examination, regions: Sequence[Region]) -> NDArray[np.uint8]:
    """The issues of a case ``[*spatial]``: 1 where a voxel is flagged, n + 2 in region n of the list."""
    issues = examination.flagged.astype(np.uint8)
    for number, region in enumerate(regions):
        issues[region.box][region.mask] = number + 2
    return issues


def _regions_of(
    examination: Examination, part: Part, spacing: Sequence[float], tolerance: float, slice_axis: int | None
) -> Iterator[Region]:
    label, predicted = examination.label[part.box], examination.predicted[part.box]
    differing = (part.predicted & ~part.given) | (part.given & (predicted == 0))
    to_given, to_predicted = surface_distances(part.given, part.predicted, spacing)
    depth = np.minimum(np.abs(to_given), np.abs(to_predicted))
    core = part.flagged & differing & (depth > tolerance)
    if not core.any():
        return
    near = differing & (signed_distance(core, spacing) <= 2 * tolerance)
    classifier = RegionClassifier(part.given, spacing, slice_axis)
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
                kind=_kind(classifier, pieces == number, thickness, int(given), part.index),
                box=tuple(_shift_slice(inner, outer.start) for inner, outer in zip(box, part.box, strict=True)),
                mask=mask,
                thickness=thickness,
                score=certainty * thickness / (thickness + tolerance),
            )


def _kind(classifier: RegionClassifier, region: Mask, thickness: float, given: int, label: int) -> ErrorKind:
    if given == label:
        return classifier.kind_of_extra(region, thickness)
    return classifier.kind_of_swap(region, thickness) if given else classifier.kind_of_missing(region, thickness)


def _shift_slice(side: slice, by: int) -> slice:
    return slice(side.start + by, side.stop + by)


@dataclass(frozen=True, eq=False)
class RegionClassifier:
    """Classifies regions by the kind of error, from the class as the label has it.

    A region is given as a connected mask ``[*spatial]`` and its thickness in mm, at its thickest.

    Attributes:
        given: ``[*spatial]``, where the label has the class.
        spacing: mm from voxel to voxel along each axis.
        slice_axis: axis across the slices that people draw in; None in 2D.
    """

    given: Mask
    spacing: Sequence[float]
    slice_axis: int | None

    def kind_of_missing(self, region: Mask, thickness: float) -> ErrorKind:
        """Kind of a region that should belong to the class and is background."""
        if not self._contact(region, self.given):
            return ErrorKind.OBJECT_MISSING
        if self.slice_axis is not None:
            beyond = np.moveaxis(region, self.slice_axis, 0)[~self._slices]
            if np.count_nonzero(beyond) >= _WHOLE_FRACTION * np.count_nonzero(region):
                return ErrorKind.SLICES
        return ErrorKind.UNDER_SEGMENTED if self._is_layer(region, thickness, self.given) else ErrorKind.MISSING

    def kind_of_extra(self, region: Mask, thickness: float) -> ErrorKind:
        """Kind of a region that belongs to the class and should be background."""
        objects, sizes = self._objects
        touched = np.unique(objects[region])
        if np.count_nonzero(region) >= _WHOLE_FRACTION * sizes[touched].sum():
            return ErrorKind.OBJECT_EXTRA
        return ErrorKind.OVER_SEGMENTED if self._is_layer(region, thickness, self.given & ~region) else ErrorKind.EXTRA

    def kind_of_swap(self, region: Mask, thickness: float) -> ErrorKind:
        """Kind of a region that should belong to the class and belongs to another one."""
        return ErrorKind.UNDER_SEGMENTED if self._is_layer(region, thickness, self.given) else ErrorKind.SWAP

    def _is_layer(self, region: Mask, thickness: float, core: Mask) -> bool:
        """Whether a region is a layer on the rest of the object: thin for its width, or around most of it."""
        within, beyond = self._contact(region, core), self._contact(region, ~(core | region))
        if not within or beyond < _SURROUNDING_FRACTION * within:  # a hole has no outer side
            return False
        width = math.sqrt(within) if region.ndim == 3 else within
        return thickness <= _LAYER_THICKNESS_RATIO * width or within >= _SURROUNDING_FRACTION * contact_area(
            core, ~core, self.spacing
        )

    def _contact(self, region: Mask, side: Mask) -> float:
        box = bounding_box(region, margin=1)
        return contact_area(region[box], side[box], self.spacing)

    @cached_property
    def _slices(self) -> NDArray[np.bool_]:
        """Slices that contain the class."""
        return np.asarray(self.given.any(axis=tuple(a for a in range(self.given.ndim) if a != self.slice_axis)))

    @cached_property
    def _objects(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        objects, _ = ndimage.label(self.given)
        sizes: NDArray[Any] = np.bincount(objects.ravel())
        return objects, sizes


def surface_distances(
    given: Mask, predicted: Mask, spacing: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signed distances to the given and to the predicted surface; where one has none, those to the other.

    Args:
        given: ``[*spatial]``.
        predicted: the same shape. At least one of the two holds a voxel.
        spacing: mm from voxel to voxel along each axis.
    """
    to_given = signed_distance(given, spacing) if given.any() else None
    to_predicted = signed_distance(predicted, spacing) if predicted.any() else None
    known = to_given if to_given is not None else to_predicted
    assert known is not None
    return known, to_predicted if to_predicted is not None else known


def contact_area(first: Mask, second: Mask, spacing: Sequence[float]) -> float:
    """Area of the voxel faces between two masks in mm^2 (2D: length of the edges in mm)."""
    total, volume = 0.0, math.prod(spacing)
    for axis, step in enumerate(spacing):
        a, b = np.moveaxis(first, axis, 0), np.moveaxis(second, axis, 0)
        faces = np.count_nonzero(a[1:] & b[:-1]) + np.count_nonzero(a[:-1] & b[1:])
        total += faces * volume / step
    return total
