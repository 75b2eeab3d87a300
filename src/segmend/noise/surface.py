"""Over- or under-segmented objects."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segmend.core.masks import Mask
from segmend.functional.morphology import dilate, erode, shift_surface
from segmend.noise._base import Decision, ObjectRecipe, check_probabilities, check_range


class CubeMorphology(ObjectRecipe):
    """Dilates or erodes an object by a full square (2D) or cube (3D) of random side.

    The noise of PLIL, MTCL and ALC, whose "3 to 15 voxels" are the side: the surface moves by 1 to 7
    voxels, and half a voxel further towards lower indices for an even side. One pass over the whole volume.

    Strength scales the growth or loss, ``side - 1`` voxels. A fraction of a voxel is rounded up or
    down at random, once for each object, so that their mean follows the strength smoothly.

    Args:
        side_min: shortest side in voxels.
        side_max: longest side in voxels, included.
        dilate_probability: probability of dilation; else erosion.
        keep_objects: corrupt an object less that would vanish. The published noise does not.
    """

    def __init__(
        self,
        *,
        side_min: int = 3,
        side_max: int = 15,
        dilate_probability: float = 0.5,
        keep_objects: bool = False,
    ) -> None:
        super().__init__(keep_objects=keep_objects)
        check_range(1, side_min=side_min, side_max=side_max)
        check_probabilities(dilate_probability=dilate_probability)
        self.side_min, self.side_max = side_min, side_max
        self.dilate_probability = dilate_probability

    def draw_object(self, rng: np.random.Generator) -> Decision:
        """Draw the direction, the side, and which way fractions of a voxel are rounded."""
        operation = draw_direction(rng, self.dilate_probability)
        side = int(rng.integers(self.side_min, self.side_max, endpoint=True))
        return Decision(operation, {"side": side, "rounding": float(rng.random())})

    def apply_object(self, mask: Mask, spacing: Sequence[float], decision: Decision) -> Mask:
        """Dilate or erode once."""
        side, rounding = decision.parameters["side"], decision.parameters["rounding"]
        scaled = 1 + math.floor(decision.strength * (side - 1) + rounding)
        return dilate(mask, scaled) if decision.operation == "dilate" else erode(mask, scaled)


class RadiusMorphology(ObjectRecipe):
    """Moves the surface of an object outward or inward by a random distance in mm, the same in all directions.

    Strength scales the distance.

    Args:
        radius_min: shortest distance in mm.
        radius_max: longest distance in mm.
        dilate_probability: probability of moving outward; else inward.
        keep_objects: corrupt an object less that would vanish.
    """

    def __init__(
        self,
        *,
        radius_min: float = 1.0,
        radius_max: float = 5.0,
        dilate_probability: float = 0.5,
        keep_objects: bool = True,
    ) -> None:
        super().__init__(keep_objects=keep_objects)
        check_range(0, radius_min=radius_min, radius_max=radius_max)
        check_probabilities(dilate_probability=dilate_probability)
        self.radius_min, self.radius_max = radius_min, radius_max
        self.dilate_probability = dilate_probability

    def draw_object(self, rng: np.random.Generator) -> Decision:
        """Draw the direction and the distance."""
        operation = draw_direction(rng, self.dilate_probability)
        return Decision(operation, {"radius": float(rng.uniform(self.radius_min, self.radius_max))})

    def apply_object(self, mask: Mask, spacing: Sequence[float], decision: Decision) -> Mask:
        """Move the surface."""
        radius = decision.strength * decision.parameters["radius"]
        return shift_surface(mask, radius if decision.operation == "dilate" else -radius, spacing)


def draw_direction(rng: np.random.Generator, dilate_probability: float) -> str:
    """Either "dilate" or "erode"."""
    return "dilate" if rng.random() < dilate_probability else "erode"
