"""Kind of error in a region where a label and the evidence differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmend.audit.distance import contact_area
from segmend.core.masks import Mask, bounding_box


class Kind(StrEnum):
    """Kind of error of a label, or of a region of it."""

    OK = "ok"
    MISSING = "missing"
    EXTRA = "extra"
    BOUNDARY_IN = "under_segmented"
    BOUNDARY_OUT = "over_segmented"
    SWAP = "swap"
    OBJECT_MISSING = "object_missing"
    OBJECT_EXTRA = "object_extra"
    SLICES = "slices"

    @property
    def of_boundary(self) -> bool:
        """Whether it is an under- or over-segmented boundary."""
        return self in (Kind.BOUNDARY_IN, Kind.BOUNDARY_OUT)


_NEARLY_ALL = 0.8
"""Fraction of an object, or of a region, that counts as all of it."""
_MUCH = 0.5
"""Fraction of a surface, or of one side of a layer, that makes it a layer."""
_THIN = 0.2
"""Thickness of a layer relative to its width."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A class as it was drawn, used to determine the kind of a region.

    A region is given as a connected mask ``[*spatial]`` and its thickness in mm, at its thickest.

    Attributes:
        given: ``[*spatial]``, where the label has the class.
        spacing: mm from voxel to voxel along each axis.
        slice_axis: axis across the slices that people draw in; None in 2D.
    """

    given: Mask
    spacing: Sequence[float]
    slice_axis: int | None

    def kind_of_missing(self, region: Mask, thickness: float) -> Kind:
        """Kind of a region that should belong to the class and is background."""
        if not self._contact(region, self.given):
            return Kind.OBJECT_MISSING
        if self.slice_axis is not None:
            beyond = np.moveaxis(region, self.slice_axis, 0)[~self._slices]
            if np.count_nonzero(beyond) >= _NEARLY_ALL * np.count_nonzero(region):
                return Kind.SLICES
        return Kind.BOUNDARY_IN if self._is_layer(region, thickness, self.given) else Kind.MISSING

    def kind_of_extra(self, region: Mask, thickness: float) -> Kind:
        """Kind of a region that belongs to the class and should be background."""
        objects, sizes = self._objects
        touched = np.unique(objects[region])
        if np.count_nonzero(region) >= _NEARLY_ALL * sizes[touched].sum():
            return Kind.OBJECT_EXTRA
        return Kind.BOUNDARY_OUT if self._is_layer(region, thickness, self.given & ~region) else Kind.EXTRA

    def kind_of_swap(self, region: Mask, thickness: float) -> Kind:
        """Kind of a region that should belong to the class and belongs to another one."""
        return Kind.BOUNDARY_IN if self._is_layer(region, thickness, self.given) else Kind.SWAP

    def _is_layer(self, region: Mask, thickness: float, core: Mask) -> bool:
        """Whether a region is a layer on the rest of the object: thin for its width, or around most of it."""
        within, beyond = self._contact(region, core), self._contact(region, ~(core | region))
        if not within or beyond < _MUCH * within:  # a hole has no outer side
            return False
        width = math.sqrt(within) if region.ndim == 3 else within
        return thickness <= _THIN * width or within >= _MUCH * contact_area(core, ~core, self.spacing)

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
