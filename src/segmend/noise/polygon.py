"""Objects outlined with a few clicks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask
from skimage.measure import find_contours

from segmend.core.masks import Mask
from segmend.noise._base import Decision, ObjectRecipe, check_range

Points = NDArray[np.float64]


class PolygonSimplification(ObjectRecipe):
    """Replaces every contour of every slice by a polygon of few vertices that lie on the contour.

    Slices are taken along the last axis; a 2D object is one slice. The vertices are equally spaced along the contour.

    Strength scales the distance by which each point of the contour moves towards its position on the polygon.

    Args:
        vertices_min: fewest vertices, at least 3.
        vertices_max: most vertices, included.
        keep_objects: corrupt an object less if it would vanish.
    """

    def __init__(self, *, vertices_min: int = 4, vertices_max: int = 8, keep_objects: bool = True) -> None:
        super().__init__(keep_objects=keep_objects)
        check_range(3, vertices_min=vertices_min, vertices_max=vertices_max)
        self.vertices_min, self.vertices_max = vertices_min, vertices_max

    def draw_object(self, rng: np.random.Generator) -> Decision:
        """Draw the number of vertices, and the position of the first one along a contour."""
        vertices = int(rng.integers(self.vertices_min, self.vertices_max, endpoint=True))
        return Decision("polygon", {"vertices": vertices, "start": float(rng.random())})

    def apply_object(self, mask: Mask, spacing: Sequence[float], decision: Decision) -> Mask:
        """Simplify every slice."""
        vertices = int(decision.parameters["vertices"])
        corners = decision.parameters["start"] + np.arange(vertices) / vertices
        slices = np.atleast_3d(mask)
        simplified = np.zeros_like(slices)
        for index in np.flatnonzero(slices.any(axis=(0, 1))):
            simplified[..., index] = _simplified(slices[..., index], corners, decision.strength)
        return simplified.reshape(mask.shape)


def _simplified(mask: Mask, corners: Points, amount: float) -> Mask:
    """Move all contours of a 2D mask towards polygons with vertices at the fractions ``corners`` of their length."""
    filled = np.zeros_like(mask)
    # With a margin, the contour of an object that is cut off by the array's edge is closed, too.
    for contour in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        contour = contour - 1
        position = np.concatenate([[0.0], np.linalg.norm(np.diff(contour, axis=0), axis=1).cumsum()])
        position /= position[-1]
        polygon = _along(position, corners, _along(corners, position, contour))
        filled ^= polygon2mask(mask.shape, contour + amount * (polygon - contour))  # a hole's contour takes away
    return filled


def _along(at: Points, positions: Points, points: Points) -> Points:
    """The points at fractions ``at`` of a closed line that passes ``points`` at ``positions``."""
    return np.stack([np.interp(at, positions, coordinate, period=1.0) for coordinate in points.T], axis=1)
