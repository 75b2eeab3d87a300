"""Slices of a scan and of its masks as PNG, turned as radiologists look at them.

The patient's right is on the left, the front above, or the head above. A slice is one of the scan's own voxels: nothing
is interpolated, so an oblique scan is turned to the nearest of these directions.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmend.audit.report.close_up import upright_turn
from segmend.core.errors import InputError
from segmend.core.grid import Grid, slice_axis

_PLANES = ("sagittal", "coronal", "axial")
_SIDES = (("R", "L"), ("A", "P"), ("S", "I"))
"""Where an axis of an upright volume begins and ends: x runs to the left, y to the back, z to the feet."""
_FASTEST = 1
"""Compression of PNG: slices do not leave the machine."""


@dataclass(frozen=True)
class Direction:
    """One side of a picture.

    Attributes:
        axis: of the voxels.
        flipped: the first row or column shows the last voxel.
        letters: of the patient at the left and right, or top and bottom.
    """

    axis: int
    flipped: bool
    letters: tuple[str, str]


@dataclass(frozen=True)
class View:
    """How slices across an axis are shown.

    Attributes:
        axis: of the voxels, across the slices; 2 in a 2D picture.
        name: of the nearest anatomical plane; "picture" in 2D.
        slices: how many there are.
        letters: of the patient at the first and at the last slice.
        across: from left to right.
        down: from top to bottom.
    """

    axis: int
    name: str
    slices: int
    letters: tuple[str, str]
    across: Direction
    down: Direction

    def check(self, index: int) -> None:
        """Check that there is a slice.

        Raises:
            InputError: there is not.
        """
        if not 0 <= index < self.slices:
            raise InputError("index", f"is {index}", f"give 0 to {self.slices - 1}", code="invalid-value")

    def where(self, index: int) -> tuple[Any, ...]:
        """The voxels of a slice, as an index of ``[*spatial]``."""
        if self.name == "picture":
            return (slice(None), slice(None))
        return tuple(index if axis == self.axis else slice(None) for axis in range(3))

    def turned(self, part: NDArray[Any]) -> NDArray[Any]:
        """The voxels of a slice as a picture ``[rows, columns]``."""
        picture = part.T if self.across.axis < self.down.axis else part
        rows = slice(None, None, -1 if self.down.flipped else 1)
        columns = slice(None, None, -1 if self.across.flipped else 1)
        return picture[rows, columns]


def views_of(grid: Grid) -> list[View]:
    """The axes across which a scan can be looked at, first the one in whose slices people draw.

    Args:
        grid: of the scan; a 2D picture is shown as it is stored.
    """
    if grid.dimensions == 2:
        across, down = Direction(0, False, ("", "")), Direction(1, False, ("", ""))
        return [View(2, "picture", 1, ("", ""), across, down)]
    turn = upright_turn(grid).astype(int).tolist()
    voxel_axis = {target: axis for axis, (target, _) in enumerate(turn)}

    def direction(target: int) -> Direction:
        axis = voxel_axis[target]
        return Direction(axis, turn[axis][1] < 0, _SIDES[target])

    views = []
    for axis, (target, sign) in enumerate(turn):
        left, top = (direction(other) for other in range(3) if other != target)
        first, last = _SIDES[target] if sign > 0 else reversed(_SIDES[target])
        views.append(View(axis, _PLANES[target], grid.shape[axis], (first, last), left, top))
    usual = slice_axis(grid)
    return sorted(views, key=lambda view: (view.axis != usual, -_PLANES.index(view.name)))


def view_across(grid: Grid, axis: int) -> View:
    """The view across an axis.

    Raises:
        InputError: there is no such axis.
    """
    views = {view.axis: view for view in views_of(grid)}
    if axis not in views:
        known = " or ".join(map(str, sorted(views)))
        raise InputError("axis", f"is {axis}", f"give {known}", code="invalid-value")
    return views[axis]


def grey(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Intensities as grey values: ``low`` and below black, ``high`` and above white; what is not a number is black."""
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    finite = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
    pixels: NDArray[np.uint8] = np.rint(finite.clip(0, 255)).astype(np.uint8)
    return pixels


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A picture ``[rows, columns]`` of greys, or ``[rows, columns, 3]`` of colours, as PNG."""
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(content, "PNG", compress_level=_FASTEST)
    return content.getvalue()


def window_of(sample: Callable[[tuple[slice, ...]], NDArray[Any]], box: tuple[slice, ...]) -> tuple[float, float]:
    """Intensities to show as black and white to begin with: the first and 99th percentile.

    Args:
        sample: gives the intensities of a part.
        box: the part to look at; of large ones, evenly spaced voxels are taken.
    """
    sides = [side.stop - side.start for side in box]
    step = max(1, round((np.prod(sides) / _SAMPLED) ** (1 / len(sides))))
    values = sample(tuple(slice(side.start, side.stop, step) for side in box)).astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (1, 99)))
    return low, max(high, low + 1e-6 * max(1.0, abs(low)))


_SAMPLED = 2**17
"""Voxels that decide about a window."""
