"""Masks of slices as polygons, and back. NumPy.

The rule in both directions: a pixel belongs to the polygons if its centre lies inside them by the even-odd rule; a
centre on an edge belongs to the side of higher coordinates, so polygons that share an edge never share a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from segmend.core.masks import Mask

Points = NDArray[np.float64]


def filled(polygons: Sequence[Points], shape: tuple[int, int]) -> Mask:
    """The pixels whose centres lie inside an odd number of polygons.

    So a polygon within another one is a hole. Parts outside the array are cut off.

    Args:
        polygons: vertices ``[n, 2]`` in pixels, x and y; the centre of the first pixel is (0, 0). The last vertex is
            joined to the first.
        shape: of the mask, along x and y.

    Returns:
        ``[x, y]`` bool.
    """
    width, height = shape
    crossings = np.zeros((width + 1, height), dtype=np.int64)
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        # From low to high y, so that an edge of two polygons is rounded in the same way in both.
        falls = (start[:, 1] > end[:, 1])[:, None]
        start, end = np.where(falls, end, start), np.where(falls, start, end)
        low, high = (np.clip(np.ceil(side[:, 1]), 0, height).astype(np.int64) for side in (start, end))
        edges = np.repeat(np.arange(len(polygon)), high - low)
        first = np.repeat(np.cumsum(high - low) - (high - low), high - low)
        rows = low[edges] + np.arange(len(edges)) - first
        (x0, y0), (x1, y1) = start[edges].T, end[edges].T
        x = x0 + (rows - y0) / (y1 - y0) * (x1 - x0)
        np.add.at(crossings, (np.clip(np.ceil(x), 0, width).astype(np.int64), rows), 1)
    inside: Mask = np.cumsum(crossings, axis=0)[:width] % 2 == 1
    return inside


def outlines(mask: Mask) -> list[Points]:
    """Closed polygons around the objects of a slice and around their holes.

    They pass half-way between the centres of neighbouring pixels inside and outside (marching squares at 0.5), so
    ``filled`` gives exactly the same mask. Pixels that touch at a corner only are separate objects.

    Args:
        mask: ``[x, y]``.

    Returns:
        Vertices ``[n, 2]`` in pixels, x and y, without those on a straight line and without the first one repeated.
    """
    # With a margin, the contour of an object that is cut off by the array's edge is closed, too.
    contours = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    return [_corners(contour[:-1] - 1) for contour in contours]


def _corners(polygon: Points) -> Points:
    """The vertices at which a closed polygon turns."""
    before, after = polygon - np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0) - polygon
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    corners: Points = polygon[turns != 0]
    return corners
