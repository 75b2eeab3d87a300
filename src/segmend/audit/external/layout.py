"""How the axes of an array run that has no header of its own, and which order nnU-Net's readers give."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from segmend.data.image import Grid

Frame = Literal["stored", "RAS"]
"""What axes are counted in: those of the label file, or those of the scan reoriented to RAS."""

_READERS: dict[str, Frame] = {
    "SimpleITKIO": "stored",
    "NibabelIO": "stored",
    "NaturalImage2DIO": "stored",
    "Tiff3DIO": "stored",
    "NibabelIOWithReorient": "RAS",
    "SimpleITKIOWithReorient": "RAS",
}
"""What the readers of nnU-Net v2 (``nnunetv2.imageio``) do: all give (z, y, x), some of the scan reoriented to RAS."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The axes of an array.

    Attributes:
        frame: what they are counted in.
        axes: for each axis of the array, the axis of the frame (0 is x) and 1, or -1 if it runs backwards.
    """

    frame: Frame
    axes: tuple[tuple[int, int], ...]

    @classmethod
    def reversed_axes(cls, frame: Frame, dimensions: int) -> Layout:
        """Axes z, y, x, as arrays of SimpleITK have them."""
        return cls(frame, tuple((axis, 1) for axis in reversed(range(dimensions))))

    @classmethod
    def own_axes(cls, dimensions: int) -> Layout:
        """Axes x, y, z of the label file itself."""
        return cls("stored", tuple((axis, 1) for axis in range(dimensions)))

    @classmethod
    def of_reader(cls, reader: str, dimensions: int) -> Layout | None:
        """Axes of the arrays that a reader of nnU-Net v2 gives; None if the reader is unknown."""
        frame = _READERS.get(reader)
        return cls.reversed_axes(frame if dimensions == 3 else "stored", dimensions) if frame else None

    def onto(self, grid: Grid) -> NDArray[np.int64]:
        """For each axis of the array, the axis of the grid and 1, or -1 if it runs backwards.

        Args:
            grid: of the label; its own affine says how its voxels lie in RAS.
        """
        stored = [(axis, 1) for axis in range(grid.dimensions)]
        ends = stored if self.frame == "stored" else orientations.io_orientation(grid.affine)[: grid.dimensions]
        found: NDArray[np.int64] = orientations.ornt_transform(
            np.array(self.axes, float), np.array(ends, float)
        ).astype(np.int64)
        return found

    def fits(self, shape: Sequence[int], grid: Grid) -> bool:
        """Whether an array of this shape has as many voxels along each axis of the grid."""
        if len(shape) != grid.dimensions:
            return False
        return all(shape[own] == grid.shape[axis] for own, (axis, _) in enumerate(self.onto(grid)))

    def shape_on(self, grid: Grid) -> tuple[int, ...]:
        """The shape of an array that lies on the grid."""
        return tuple(grid.shape[axis] for axis, _ in self.onto(grid))

    def place(self, array: NDArray[Any], grid: Grid) -> NDArray[Any]:
        """Return the array along the axes of the grid; a view where possible."""
        placed: NDArray[Any] = orientations.apply_orientation(array, self.onto(grid))
        return placed

    def __str__(self) -> str:
        """Such as '(z, y, x) as stored', with a minus before axes that run backwards."""
        axes = ", ".join(("-" if way < 0 else "") + "xyz"[axis] for axis, way in self.axes)
        return f"({axes}) {'as stored' if self.frame == 'stored' else 'of the scan in RAS'}"


def all_layouts(dimensions: int) -> Iterator[Layout]:
    """Every order and direction of the axes, in both frames; (z, y, x) as stored, which is the most usual, first.

    Pictures have no place in a patient: in 2D, axes are counted in the file alone.
    """
    ways = list(itertools.product((1, -1), repeat=dimensions))
    orders = list(itertools.permutations(reversed(range(dimensions))))
    frames: tuple[Frame, ...] = ("stored", "RAS") if dimensions == 3 else ("stored",)
    for order, way in itertools.product(orders, ways):
        for frame in frames:
            yield Layout(frame, tuple(zip(order, way, strict=True)))
