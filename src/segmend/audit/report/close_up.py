"""Crops of a scan with some masks, compressed so that a page can hold hundreds of them."""

from __future__ import annotations

import io
import json
import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from segmend.audit.report.field_of_view import Side, field_of_view
from segmend.core.masks import Mask, bounding_box
from segmend.data.image import Grid

BUDGET = 100_000
"""Bytes that a close-up may take in a page: about what a photograph takes."""
MOST_VOXELS = 500_000
"""Voxels that it may show."""

_LEAST_VOXELS = 1_000
_QUALITIES = (80, 60, 45, 30, 15)
"""Of WebP, from nearly perfect to just recognisable."""
_FLAG = 16
"""Masks are bits times this: a browser that blurs pixels a little, against tracking, does not change them."""
_NEAR = 32
"""Voxels of the scan around the place that decide about the window."""
_SMOOTHING = 0.4
"""Standard deviation of the filter before voxels are left out, in distances of those that are shown."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A scan and masks, turned so that x runs to the patient's left, y to the back and z to the feet.

    Attributes:
        image: one channel, ``[*spatial]``, finite.
        masks: up to four, of the same shape.
        place: what to look at, of the same shape, at least one voxel.
        grid: of all of them.
        to_file: ``[4, 4]``, voxel index here to voxel index in the file.
    """

    image: NDArray[np.float32]
    masks: Sequence[Mask]
    place: Mask
    grid: Grid
    to_file: NDArray[np.float64]

    @classmethod
    def upright(cls, image: NDArray[np.float32], masks: Sequence[Mask], place: Mask, grid: Grid) -> Scene:
        """Turns what lies on a grid; a 2D image is left as it is stored."""
        if grid.dimensions == 2:
            return cls(image, masks, place, grid, np.eye(4))
        turn = upright_turn(grid)
        to_file = nibabel.orientations.inv_ornt_aff(turn, grid.shape)
        turned = [nibabel.orientations.apply_orientation(array, turn) for array in (image, place, *masks)]
        return cls(turned[0], turned[2:], turned[1], Grid(turned[0].shape, grid.affine @ to_file), to_file)


def upright_turn(grid: Grid) -> NDArray[np.float64]:
    """``[3, 2]``, for each axis of a volume the axis that it becomes in a ``Scene``, and -1 if it is reversed."""
    stored = nibabel.orientations.io_orientation(grid.affine)
    turn: NDArray[np.float64] = nibabel.orientations.ornt_transform(stored, nibabel.orientations.axcodes2ornt("LPI"))
    return turn


@dataclass(frozen=True)
class CloseUp:
    """A part of a scene as a page shows it; arrays are always 3D, those of an image have one slice.

    Attributes:
        image: slices along z, from left to right and from top to bottom, as base64 of a WebP file.
        masks: slices in the same order, as base64 of a PNG file; the first mask counts 16, the next 32 and so on.
        columns: slices in a row.
        shape: voxels along x, y and z.
        spacing: mm from voxel to voxel along x, y and z.
        planar: it is a 2D image.
        at: voxel to show first; across each axis, the slice that holds most of the place.
        range: intensities that the image shows as 0 and 255.
        window: intensities to show as black and white to begin with.
        to_file: ``[3, 4]``, voxel index to voxel index in the file.
        to_ras: ``[3, 4]``, voxel index to RAS mm.
    """

    image: str
    masks: str
    columns: int
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    planar: bool
    at: tuple[int, ...]
    range: tuple[float, float]
    window: tuple[float, float]
    to_file: list[list[float]]
    to_ras: list[list[float]]

    @property
    def bytes(self) -> int:
        """What it takes in a page."""
        return len(json.dumps(asdict(self)))

    def voxel_at(self, ras: Sequence[float]) -> list[float]:
        """The voxel, not rounded, at a place in RAS mm."""
        index: list[float] = np.linalg.solve(np.vstack([self.to_ras, [0, 0, 0, 1]]), [*ras, 1])[:3].tolist()
        return index


def close_up(scene: Scene, budget: int = BUDGET) -> CloseUp:
    """Shows the place of a scene with its surroundings, as widely and as sharply as the budget allows.

    Args:
        scene: a scan with masks.
        budget: bytes that the result may take; 10 000 do for anything, however blurred.
    """
    most = MOST_VOXELS
    while True:
        sides = field_of_view(bounding_box(scene.place), scene.grid.shape, scene.grid.spacing, most)
        without_image, pixels = _cut(scene, sides)
        for quality in _QUALITIES:
            result = replace(without_image, image=_encoded(pixels, "WEBP", quality=quality))
            if result.bytes <= budget:
                return result
        if most <= _LEAST_VOXELS:
            return result
        most //= 2


def _cut(scene: Scene, sides: Sequence[Side]) -> tuple[CloseUp, NDArray[np.uint8]]:
    """The close-up but for its image, and the image."""
    box, chosen = tuple(side.box for side in sides), np.ix_(*(side.voxels for side in sides))
    smooth = [_SMOOTHING * side.step if side.step > 1 else 0.0 for side in sides]
    values = ndimage.gaussian_filter(scene.image[box], smooth, mode="nearest")
    near = values[bounding_box(scene.place[box], _NEAR)]
    values = values[chosen]
    flags = np.zeros(values.shape, np.uint8)
    for bit, mask in enumerate(scene.masks):
        flags |= mask[box][chosen] * np.uint8(_FLAG << bit)
    low, high = _percentiles(values, 0.2, 99.8)
    grey = np.rint((values.clip(low, high) - low) * (255 / (high - low))).astype(np.uint8)
    columns = math.ceil(math.sqrt(values[0, 0].size))
    at = [_fullest(scene.place[box], axis) / side.step for axis, side in enumerate(sides)]
    to_scene = _to_scene(sides)
    result = CloseUp(
        image="",
        masks=_encoded(_side_by_side(flags, columns), "PNG", optimize=True),
        columns=columns,
        shape=(*values.shape, 1)[:3],
        spacing=(*(mm * side.step for mm, side in zip(scene.grid.spacing, sides, strict=True)), 1.0)[:3],
        planar=values.ndim == 2,
        at=(*map(int, at), 0)[:3],
        range=(low, high),
        window=_percentiles(near, 1, 99),
        to_file=(scene.to_file @ to_scene)[:3].tolist(),
        to_ras=(scene.grid.affine @ to_scene)[:3].tolist(),
    )
    return result, _side_by_side(grey, columns)


def _percentiles(values: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Two percentiles, the second above the first whatever the values."""
    first, second = (float(value) for value in np.percentile(values, (low, high)))
    return first, max(second, first + 1e-6 * max(1.0, abs(first)))


def _fullest(mask: Mask, axis: int) -> int:
    """The slice across an axis that holds most of a mask."""
    return int(mask.sum(tuple(other for other in range(mask.ndim) if other != axis)).argmax())


def _to_scene(sides: Sequence[Side]) -> NDArray[np.float64]:
    """``[4, 4]``, index of a voxel shown to the place in the scene that it stands for."""
    matrix = np.eye(4)
    for axis, side in enumerate(sides):
        matrix[axis, axis], matrix[axis, 3] = side.step, side.start + (side.step - 1) / 2
    return matrix


def _side_by_side(array: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Arrange the slices of ``[x, y, z]`` in rows of ``columns``, as a picture ``[height, width]``."""
    x, y, slices = (*array.shape, 1)[:3]
    rows = -(-slices // columns)
    filled = np.zeros((rows * columns, y, x), np.uint8)
    filled[:slices] = array.reshape(x, y, slices).T
    return filled.reshape(rows, columns, y, x).swapaxes(1, 2).reshape(rows * y, columns * x)


def _encoded(picture: NDArray[np.uint8], kind: str, **settings: Any) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, kind, **settings)
    return b64encode(content.getvalue()).decode()
