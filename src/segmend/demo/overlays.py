"""Slices of scans with the outlines of labels, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from segmend.core.rendering import legend_name, save_picture
from segmend.data.image import Grid

GROUND, INK = "#101418", "#e8eaed"
"""Colours of what surrounds the slices and of the writing on it, as in an image viewer."""

_INCHES = 2.7
_DOTS = 110
_SIDES = {2: ("", "", "", ""), 3: ("R", "L", "A", "P")}
_EDGES = (
    (0.02, 0.5, "left", "center"),
    (0.98, 0.5, "right", "center"),
    (0.5, 0.98, "center", "top"),
    (0.5, 0.02, "center", "bottom"),
)


@dataclass(frozen=True, eq=False)
class View:
    """A slice of a scan as it is seen: the first axis runs down, the second to the right.

    Attributes:
        title: stands above it.
        image: ``[rows, columns]``.
        labels: label values ``[rows, columns]`` by the name to show.
        pixel: height and width of a pixel in mm.
        sides: letters at the left, right, upper and lower edge.
    """

    title: str
    image: NDArray[np.float32]
    labels: Mapping[str, NDArray[np.integer]]
    pixel: tuple[float, float]
    sides: tuple[str, str, str, str]


def slice_of(
    title: str, image: NDArray[np.float32], labels: Mapping[str, NDArray[np.integer]], grid: Grid, position: int
) -> View:
    """One axial slice, turned as radiologists look at it: the patient's right at the left, the front on top.

    Args:
        title: stands above the slice.
        image: one channel, ``[*spatial]``.
        labels: label values on the same grid by the name to show.
        grid: of all of them.
        position: slice along ``axial_axis``; a 2D image has only one, and is shown as it is stored.
    """
    seen = {name: _seen(label, grid, position) for name, label in labels.items()}
    height, width = _seen_spacing(grid)
    return View(title, _seen(image, grid, position), seen, (height, width), _SIDES[grid.dimensions])


def axial_axis(grid: Grid) -> int:
    """The axis of a 3D scan that runs along the patient."""
    return _axes(grid)[2][0]


def most_different_slice(reference: NDArray[np.integer], others: Sequence[NDArray[np.integer]], grid: Grid) -> int:
    """The axial slice through the objects of a reference where other labels differ from it in most voxels.

    Args:
        reference: label values ``[*spatial]``.
        others: labels of the same shape.
        grid: of all of them.

    Returns:
        Position along ``axial_axis``; of all slices if the reference holds no object, and that with most
        foreground if nothing differs.
    """
    if grid.dimensions == 2:
        return 0
    across = tuple(axis for axis in range(3) if axis != axial_axis(grid))
    differing = np.sum([(other != reference).sum(across) for other in others], axis=0)
    foreground = (reference != 0).sum(across)
    if foreground.any():
        differing[foreground == 0] = 0
    return int(np.argmax(differing if differing.any() else foreground))


def draw_overlays(path: Path, rows: Sequence[Sequence[View]], colours: Mapping[str, str]) -> None:
    """Draws slices in rows, each with the outlines of its labels, under a legend.

    Args:
        path: the picture to write; its ending chooses the format.
        rows: the slices; rows may differ in length.
        colours: by name of a label. The legend shows them in this order; labels of one name should have one colour.
    """
    columns = max(len(row) for row in rows)
    ratio = max(_height(view) for row in rows for view in row)
    size = (_INCHES * columns, 0.45 + (_INCHES * ratio + 0.3) * len(rows))
    figure = Figure(figsize=size, layout="constrained", facecolor=GROUND)
    cells = figure.subplots(len(rows), columns, squeeze=False)
    for axes, view in zip(cells.flat, _filled(rows, columns), strict=True):
        axes.set_axis_off()
        if view:
            _draw_view(axes, view, colours)
    lines = [Line2D([], [], color=colour, linewidth=2.5) for colour in colours.values()]
    legend = figure.legend(
        lines,
        list(map(legend_name, colours)),
        loc="outside upper center",
        ncols=len(colours),
        frameon=False,
        fontsize=11,
    )
    for text in legend.get_texts():
        text.set(color=INK)
    save_picture(figure, path, _DOTS)


def _draw_view(axes: Axes, view: View, colours: Mapping[str, str]) -> None:
    height, width = view.pixel
    low, high = np.percentile(view.image, [1, 99.5])
    axes.imshow(view.image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=height / width)
    for name, label in view.labels.items():
        for value in np.unique(label[label != 0]):
            _outline(axes, label == value, colours[name])
    axes.set_title(view.title, color=INK, fontsize=10, pad=5)
    for letter, (x, y, across, along) in zip(view.sides, _EDGES, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, color=INK, alpha=0.7, fontsize=8, ha=across, va=along)


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    """A closed line around a mask that holds a voxel, dark-edged to be seen on any ground."""
    padded = np.pad(mask, 1).astype(np.float32)
    down, right = (np.arange(-1, side + 1) for side in mask.shape)
    for shade, line in (("black", 3.0), (colour, 1.6)):
        axes.contour(right, down, padded, levels=[0.5], colors=[shade], linewidths=line, alpha=0.9)
    axes.set(xlim=(-0.5, mask.shape[1] - 0.5), ylim=(mask.shape[0] - 0.5, -0.5))


def _axes(grid: Grid) -> list[tuple[int, bool]]:
    """For right, anterior and superior: the axis that runs along it, and whether it does so backwards."""
    towards = nibabel.orientations.io_orientation(grid.affine)
    return [(int(axis), bool(towards[axis, 1] < 0)) for axis in np.argsort(towards[:, 0])]


def _seen(array: NDArray[Any], grid: Grid, position: int) -> NDArray[Any]:
    if grid.dimensions == 2:
        return array.T
    (right, right_backwards), (anterior, anterior_backwards), (along, _) = _axes(grid)
    plane = np.take(array, position, axis=along)
    plane = plane.T if right < anterior else plane
    # Rows now run along anterior and columns along right; they are to run to the back and to the left.
    turned: NDArray[Any] = plane[:: 1 if anterior_backwards else -1, :: 1 if right_backwards else -1]
    return turned


def _seen_spacing(grid: Grid) -> tuple[float, float]:
    """Height and width of a pixel."""
    if grid.dimensions == 2:
        return grid.spacing[1], grid.spacing[0]
    (right, _), (anterior, _), _ = _axes(grid)
    return grid.spacing[anterior], grid.spacing[right]


def _height(view: View) -> float:
    """Height of the slice, where its width is 1."""
    rows, columns = view.image.shape
    return float(rows * view.pixel[0] / (columns * view.pixel[1]))


def _filled(rows: Sequence[Sequence[View]], columns: int) -> list[View | None]:
    """All rows in one list, each filled up to the same length."""
    return [view for row in rows for view in (*row, *[None] * (columns - len(row)))]
