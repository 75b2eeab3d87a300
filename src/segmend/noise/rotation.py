"""Objects drawn rotated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segmend.core.errors import InputError
from segmend.core.masks import Mask
from segmend.functional.morphology import shift_surface
from segmend.noise._base import Decision, ObjectRecipe, check_probabilities, check_range
from segmend.noise.surface import draw_direction


class InPlaneRotation(ObjectRecipe):
    """Rotates an object about its own centroid, in the plane of the first two axes (nearest neighbour).

    Strength scales the angle, up to half a turn.

    Args:
        angle_max: largest angle in degrees, either way round.
        keep_objects: corrupt an object less that would vanish.
    """

    def __init__(self, *, angle_max: float = 30.0, keep_objects: bool = True) -> None:
        super().__init__(keep_objects=keep_objects)
        _check_angle(angle_max)
        self.angle_max = angle_max

    def draw_object(self, rng: np.random.Generator) -> Decision:
        """Draw the angle."""
        return Decision("rotate", {"angle": float(rng.uniform(-self.angle_max, self.angle_max))})

    def apply_object(self, mask: Mask, spacing: Sequence[float], decision: Decision) -> Mask:
        """Rotate the object."""
        return rotate_in_plane(mask, decision.strength * decision.parameters["angle"], spacing)


class RotatedMorphology(ObjectRecipe):
    """Erodes or dilates every slice of an object by a disc, then rotates the object in the same plane.

    The noise of MLB-Seg, whose paper states only that it rotates, erodes or dilates, and the mean Dice of its three
    levels: 0.8031, 0.6206 (its default) and 0.4148. Ask for one of them with ``--dice``.

    Strength scales both the radius of the disc and the angle.

    Args:
        radius_max: largest radius in mm; drawn uniformly from 0.
        angle_max: largest angle in degrees, either way round.
        dilate_probability: probability of dilation; else erosion.
        keep_objects: corrupt an object less that would vanish.
    """

    def __init__(
        self,
        *,
        radius_max: float = 10.0,
        angle_max: float = 30.0,
        dilate_probability: float = 0.5,
        keep_objects: bool = True,
    ) -> None:
        super().__init__(keep_objects=keep_objects)
        check_range(0, radius_min=0, radius_max=radius_max)
        _check_angle(angle_max)
        check_probabilities(dilate_probability=dilate_probability)
        self.radius_max, self.angle_max = radius_max, angle_max
        self.dilate_probability = dilate_probability

    def draw_object(self, rng: np.random.Generator) -> Decision:
        """Draw the direction, the radius and the angle."""
        operation = draw_direction(rng, self.dilate_probability)
        radius = float(rng.uniform(0, self.radius_max))
        return Decision(operation, {"radius": radius, "angle": float(rng.uniform(-self.angle_max, self.angle_max))})

    def apply_object(self, mask: Mask, spacing: Sequence[float], decision: Decision) -> Mask:
        """Move the outline of every slice, then rotate the object."""
        radius = decision.strength * decision.parameters["radius"]
        # Slices that are further apart than the outline moves do not touch each other.
        apart = (*spacing[:2], *[2 * radius + 1] * (mask.ndim - 2))
        shifted = shift_surface(mask, radius if decision.operation == "dilate" else -radius, apart)
        return rotate_in_plane(shifted, decision.strength * decision.parameters["angle"], spacing)


def rotate_in_plane(mask: Mask, degrees: float, spacing: Sequence[float]) -> Mask:
    """Rotate a mask about its centroid in the plane of the first two axes, by nearest neighbour.

    Args:
        mask: ``[*spatial]``.
        degrees: from the first axis towards the second; held to half a turn either way.
        spacing: mm from voxel to voxel along each axis.
    """
    if not mask.any():
        return mask.copy()
    size = np.reshape(spacing[:2], (2, 1, 1))
    places = np.indices(mask.shape[:2]) * size  # [2, first axis, second axis] in mm: the same for all slices
    weights = np.count_nonzero(mask.reshape(*mask.shape[:2], -1), axis=2)
    centroid = (places * weights).sum(axis=(1, 2), keepdims=True) / weights.sum()
    x, y = places - centroid
    angle = np.deg2rad(np.clip(degrees, -180, 180))
    # Where each voxel's value comes from: rotated back by the angle.
    origin = centroid + np.stack([x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)])
    index = np.rint(origin / size).astype(np.intp)
    inside = ((index >= 0) & (index < np.reshape(mask.shape[:2], (2, 1, 1)))).all(0)
    turned = np.zeros_like(mask)
    turned[inside] = mask[tuple(index[:, inside])]
    return turned


def _check_angle(angle_max: float) -> None:
    if not 0 <= angle_max <= 180:
        raise InputError("angle_max", f"is {angle_max} degrees", "give an angle from 0 to 180", code="invalid-value")
